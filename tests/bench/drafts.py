#!/usr/bin/env python3
"""Answers with guessed tokens beside the same without, on prompts whose answers copy and where nothing matches.

    python3 tests/bench/drafts.py --build build/release --model FILE [--workers 1] [--prompts 10] [--tokens 200] [--rounds 3]
        [--method METHOD] [--out FILE]

One coordinator answers all. `copies`: a text of random sentences, the same again, and its beginning, answered greedily.
`nothing`: random words, answered by sampling, so that an answer does not follow itself. Each round asks each prompt with
--draft none and lookup, in turn first; prompts are reused, so decode alone is measured. Ids must be the same. Told: tokens
a second of decode of both, the median of the pairs' ratios and the worst, and how many guesses were right."""
import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

START_SECONDS = 120
ANSWER_SECONDS = 600
SEED = 20261201
WORDS = """river stone winter garden letter market bridge candle silver mountain window harbour forest kitchen morning shadow
music paper captain village summer blanket engine island mirror orchard pencil quarter ribbon station thunder valley wagon
yellow anchor basket copper dinner feather glass hammer iron jacket ladder meadow needle ocean pocket railway saddle""".split()


def sentences(chance, count):
    return " ".join("The %s and the %s near the %s were found by a %s on day %d." % (
        *chance.sample(WORDS, 4), chance.randrange(1000)) for _ in range(count))


def prompts(kind, count):
    chance = random.Random(SEED)
    for _ in range(count):
        if kind == "copies":
            text = sentences(chance, 20)
            yield text + "\n\n" + text + "\n\n" + text[:40]
        else:
            yield " ".join(chance.choice(WORDS) + str(chance.randrange(100)) for _ in range(300))


class Coordinator:
    def __init__(self, arguments, folder):
        ready = os.path.join(folder, "ready")
        self.bin = os.path.join(os.path.abspath(arguments.build), "bin")
        self.process = subprocess.Popen([os.path.join(self.bin, "longhaul-coordinator"), "--model", arguments.model, "--launch",
                                         "--listen", "127.0.0.1:0", "--workers", str(arguments.workers), "--method",
                                         arguments.method, "--ready-file", ready], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        while not os.path.exists(ready):
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                sys.exit("the coordinator did not start")
            time.sleep(0.05)
        with open(ready, encoding="ascii") as file:
            self.address = file.read().split()[0]

    def answer(self, text, draft, tokens, sampling):
        done = subprocess.run([os.path.join(self.bin, "longhaul"), "generate", "--server", self.address, "--raw", "--json",
                               "--prompt", text, "--max-tokens", str(tokens), "--ignore-eos", "--draft", draft, *sampling],
                              stdout=subprocess.PIPE, check=True, timeout=ANSWER_SECONDS)
        return json.loads(done.stdout)

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def measure(coordinator, arguments, kind):
    sampling = [] if kind == "copies" else ["--temperature", "1", "--seed", "7"]
    ratios, rates, drafted, accepted = [], {"none": [], "lookup": []}, 0, 0
    for number, text in enumerate(prompts(kind, arguments.prompts)):
        coordinator.answer(text, "none", 1, sampling)  # its keys are there from here on
        for round_number in range(arguments.rounds):
            pair = {}
            for draft in ("none", "lookup") if (number + round_number) % 2 else ("lookup", "none"):
                pair[draft] = coordinator.answer(text, draft, arguments.tokens, sampling)
                rates[draft].append((arguments.tokens - 1) / pair[draft]["seconds"]["decode"])
            if pair["none"]["token_ids"] != pair["lookup"]["token_ids"]:
                sys.exit("%s, prompt %d: the answers differ" % (kind, number))
            ratios.append(pair["none"]["seconds"]["decode"] / pair["lookup"]["seconds"]["decode"])
            drafted += pair["lookup"]["usage"]["drafted_tokens"]
            accepted += pair["lookup"]["usage"]["accepted_tokens"]
    return {"kind": kind, "method": arguments.method, "workers": arguments.workers, "pairs": len(ratios),
            "tokens": arguments.tokens, "none_tokens_per_second": round(statistics.median(rates["none"]), 1),
            "lookup_tokens_per_second": round(statistics.median(rates["lookup"]), 1),
            "ratio": round(statistics.median(ratios), 3), "least_ratio": round(min(ratios), 3),
            "drafted_tokens": drafted, "accepted_tokens": accepted}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", default="rope")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        coordinator = Coordinator(arguments, folder)
        try:
            rows = [measure(coordinator, arguments, kind) for kind in ("copies", "nothing")]
        finally:
            coordinator.end()
    for row in rows:
        print(json.dumps(row), flush=True)
    if arguments.out:
        with open(arguments.out, "a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)


if __name__ == "__main__":
    main()
