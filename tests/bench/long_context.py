#!/usr/bin/env python3
"""The real model beyond its trained window, held against reference values (tests/bench/data/golden_long.json).

    python3 tests/bench/long_context.py --bin build/release/bin --model FILE [--methods NAME ...]
                                       [--cache int8] [--out FILE]

perplexity: a text of 16,384 tokens, the mean negative log-likelihood of each bucket of 1,024 tokens. A bucket is within 0.02 where
the reference is below 3.1, and within 10 % elsewhere: there the model is lost, and rounding grows.
retrieval: documents of 5,600 and 10,618 tokens that hide a number, a question, and whether the greedy answer has the number, for
every answer whose margin is above 0.3.

Prints a line a check, exits 1 if one fails, and writes JSON lines with a manifest to --out."""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "golden_long.json")
NUMBER = "7412968"


def spell(method):
    name = method["name"]
    rest = [f"{key}={value}" for key, value in method.items() if key != "name"]
    if name == "window":  # LM-Infinite without its sinks
        name, rest = "lm_infinite", rest + ["sinks=0"]
    return name + (":" + ",".join(rest) if rest else "")


class Campaign:
    def __init__(self, arguments):
        self.arguments = arguments
        self.failed = 0
        self.passed = 0
        self.rows = []

    def longhaul(self, *words):
        command = [os.path.join(self.arguments.bin, "longhaul"), *words, "--model", self.arguments.model, "--workers",
                   str(self.arguments.workers), "--cache", self.arguments.cache, "--json"]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                         timeout=7200).stdout)

    def record(self, holds, row):
        self.passed += holds
        self.failed += not holds
        self.rows.append({**row, "holds": holds})
        print(("holds " if holds else "FAILS ") + json.dumps(row), flush=True)

    def perplexity(self, golden, folder):
        path = os.path.join(folder, "text.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(golden["text"])
        for expected in golden["results"]:
            method = spell(expected["method"])
            if self.arguments.methods and method not in self.arguments.methods:
                continue
            start = time.monotonic()
            logprobs = self.longhaul("score", "--file", path, "--method", method)["logprobs"]
            seconds = time.monotonic() - start
            # A bucket holds the scores of the rows in it; the reference's last row has none.
            size = golden["bucket"]
            means = [-sum(logprobs[a:a + size]) / len(logprobs[a:a + size]) for a in range(0, len(logprobs), size)]
            worst = max(abs(mean - wanted) / (0.02 if wanted < 3.1 else 0.1 * wanted)
                        for mean, wanted in zip(means, expected["nll_by_bucket"]))
            self.record(worst <= 1 and len(means) == len(expected["nll_by_bucket"]),
                        {"check": "perplexity", "method": method, "tokens": len(logprobs) + 1,
                         "worst_of_bound": round(worst, 3), "nll_by_bucket": [round(mean, 4) for mean in means],
                         "seconds": round(seconds, 1)})

    def retrieval(self, golden, folder):
        path = os.path.join(folder, "document.txt")
        for case in golden:
            with open(path, "w", encoding="utf-8") as file:
                file.write(case["document"])
            for expected in case["results"]:
                method = spell(expected["method"])
                if expected["margin"] <= 0.3 or (self.arguments.methods and method not in self.arguments.methods):
                    continue
                answer = self.longhaul("run", "--prompt-file", path, "--prompt", case["question"], "--method", method,
                                       "--max-tokens", "24")
                self.record((NUMBER in answer["text"]) == expected["found"] and
                            answer["usage"]["prompt_tokens"] == case["prompt_tokens"],
                            {"check": "retrieval", "method": method, "prompt_tokens": answer["usage"]["prompt_tokens"],
                             "depth": case["depth"], "found": NUMBER in answer["text"], "answer": answer["text"],
                             "prefill_seconds": round(answer["seconds"]["prefill"], 1)})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", default=os.environ.get("LONGHAUL_TEST_MODEL"))
    parser.add_argument("--methods", nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cache", choices=["bf16", "int8"], default="bf16")
    parser.add_argument("--only", choices=["perplexity", "retrieval"])
    parser.add_argument("--out")
    campaign = Campaign(parser.parse_args())
    if not campaign.arguments.model:
        print("SKIPPED: neither --model nor LONGHAUL_TEST_MODEL names a model file")
        sys.exit(77)
    with open(DATA, encoding="utf-8") as file:
        golden = json.load(file)
    with tempfile.TemporaryDirectory() as folder:
        if campaign.arguments.only != "retrieval":
            campaign.perplexity(golden["perplexity"], folder)
        if campaign.arguments.only != "perplexity":
            campaign.retrieval(golden["retrieval"], folder)
    if campaign.arguments.out:
        commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                                check=False).stdout.strip()
        facts = json.loads(subprocess.run([os.path.join(campaign.arguments.bin, "longhaul-worker"), "--describe"],
                                          check=True, capture_output=True, text=True, timeout=60).stdout)
        with open(campaign.arguments.out, "w", encoding="utf-8") as out:
            for row in [{"manifest": {"command": "tests/bench/long_context.py", "commit": commit,
                                      "kernels": facts["best_kernels"], "workers": campaign.arguments.workers,
                                      "cache": campaign.arguments.cache}},
                        *campaign.rows]:
                print(json.dumps(row), file=out)
    print(f"{campaign.passed} passed, {campaign.failed} failed")
    sys.exit(campaign.failed > 0)


main()
