#!/usr/bin/env python3
"""How well plans foretell: the prefill and decode seconds of a grid of lengths, methods and worker counts, predicted by rates that
`longhaul calibrate` measures in the same run, against measured ones.

    python3 tests/bench/predict_grid.py --bin build/release/bin --model FILE --out tests/bench/results/NAME.jsonl \\
        [--case rope@8192@1 ...] [--rounds N] [--calibrate-tokens 256,1024,4096] [--decode-tokens N]

A case is METHOD@TOKENS@WORKERS, METHOD as on the command line. A round calibrates, then runs every case once; rounds alternate so, and a
case is predicted by the calibration of its own round, which ran before it. All workers together get the cores that the
process may use. Prompts are words drawn by a seed, of exactly so many tokens. The first line of the output is a manifest, then a line
for each case of each round (predicted, measured, error, and both part by part), then one for each case's medians, and last the
summary: the median of the errors' sizes, and the worst case by name. Exit code 1 where the median is above --within (10 %)."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

METHODS = ["rope", "string:shift=2730,local=128", "lm_infinite:window=2048,sinks=16"]
CASES = [f"{method}@{tokens}@{workers}" for tokens in (512, 2048, 8192, 32768) for method in METHODS for workers in (1, 2)]
SECONDS = 7200


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--case", nargs="+", default=CASES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calibrate-tokens", default="256,1024,4096")
    parser.add_argument("--calibrate-repetitions", type=int, default=3)
    parser.add_argument("--decode-tokens", type=int, default=64)
    parser.add_argument("--within", type=float, default=0.1, help="the most that the median of the errors may be [0.1]")
    return parser.parse_args()


def longhaul(arguments, *words, **options):
    command = [os.path.join(arguments.bin, "longhaul"), words[0], "--model", arguments.model, *words[1:]]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=SECONDS, **options).stdout


def write_prompt(arguments, path, tokens):
    """Words that are mostly one token each, then as many single ones as are missing."""
    words = "time people way day man thing woman life child world school state family student group country problem hand".split()
    text, seed = [], 1
    for _ in range(tokens):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2**64
        text.append(words[(seed >> 33) % len(words)])

    def count(number):
        with open(path, "w", encoding="utf-8") as file:
            file.write(" ".join(text[:number]))
        return len(json.loads(longhaul(arguments, "tokenize", "--file", path, "--json"))["token_ids"])
    number = tokens
    while (counted := count(number)) != tokens:
        if not 0 < number + tokens - counted <= len(text):
            raise SystemExit(f"no prompt of exactly {tokens} tokens: {number} words are {counted}")
        number += tokens - counted


def predict(arguments, case, costs):
    method, tokens, workers = case.split("@")
    plan = json.loads(longhaul(arguments, "plan", "--costs", costs, "--method", method, "--workers", workers, "-t", tokens,
                               "-n", str(arguments.decode_tokens), "--json"))
    return plan["plan"]


def measure(arguments, case, prompt):
    method, _, workers = case.split("@")
    return json.loads(longhaul(arguments, "run", "--method", method, "--workers", workers, "--raw", "--prompt-file", prompt,
                               "-n", str(arguments.decode_tokens), "--json"))


def compare(case, plan, result):
    """One row: seconds of the prompt, and of a token of the answer (the first one belongs to the prompt)."""
    measured, answered = result["seconds"]["prefill"], result["usage"]["completion_tokens"] - 1
    token = result["seconds"]["decode"] / answered if answered > 0 else None
    parts = [rank["parts"] | {"wait": rank["exchange_wait_seconds"]} for rank in result["ranks"]]
    return {"case": case, "predicted_seconds": plan["seconds"], "seconds": measured, "error": plan["seconds"] / measured - 1,
            "predicted_token_seconds": plan["token_seconds"], "token_seconds": token,
            "token_error": plan["token_seconds"] / token - 1 if token else None,
            "predicted_parts": plan["parts"], "parts": {name: max(part[name] for part in parts)
                                                        for name in ("rows", "attend", "head", "wait")}}


def median_row(rows):
    row = {"case": rows[0]["case"], "rounds": len(rows)}
    for name in ("predicted_seconds", "seconds", "error", "predicted_token_seconds", "token_seconds", "token_error"):
        values = [each[name] for each in rows if each[name] is not None]
        row[name] = statistics.median(values) if values else None
    return row


def summarise(medians):
    def worst(name):
        rows = [row for row in medians if row[name] is not None]
        row = max(rows, key=lambda each: abs(each[name]), default=None)
        return row and {"case": row["case"], name: row[name]}

    def middle(name):
        values = [abs(row[name]) for row in medians if row[name] is not None]
        return statistics.median(values) if values else None
    return {"summary": {"cases": len(medians), "median_error": middle("error"), "worst": worst("error"),
                        "median_token_error": middle("token_error"), "worst_token": worst("token_error")}}


def show(medians, summary):
    print(f"{'case':44} {'predicted':>10} {'measured':>10} {'error':>8}   {'token':>9} {'measured':>9} {'error':>8}")
    for row in medians:
        token = ("%6.2f ms %6.2f ms %+7.1f%%" % (1e3 * row["predicted_token_seconds"], 1e3 * row["token_seconds"],
                                              100 * row["token_error"])) if row["token_seconds"] else ""
        print("%-44s %8.2f s %8.2f s %+7.1f%%   %s" % (row["case"], row["predicted_seconds"], row["seconds"], 100 * row["error"], token))
    told = summary["summary"]
    print("median error %.1f %%, worst %+.1f %% (%s)" % (100 * told["median_error"], 100 * told["worst"]["error"], told["worst"]["case"]))


def manifest(arguments):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "")
    return {"manifest": {"command": sys.argv, "version": subprocess.run(
        [os.path.join(arguments.bin, "longhaul"), "--version"], capture_output=True, text=True, check=True).stdout.strip(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cpu": cpu, "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(), "load": os.getloadavg()[0], "model": os.path.basename(arguments.model)}}


def main():
    arguments = parse()
    workers = ",".join(sorted({case.split("@")[2] for case in arguments.case}))
    rows = {case: [] for case in arguments.case}
    with tempfile.TemporaryDirectory() as folder, open(arguments.out, "w", encoding="utf-8") as out:
        print(json.dumps(manifest(arguments)), file=out, flush=True)
        prompts = {tokens: os.path.join(folder, f"{tokens}.txt") for tokens in {case.split("@")[1] for case in arguments.case}}
        for tokens, path in prompts.items():
            write_prompt(arguments, path, int(tokens))
        for number in range(arguments.rounds):
            costs = os.path.join(folder, f"costs-{number}.yaml")
            longhaul(arguments, "calibrate", "--workers", workers, "-t", arguments.calibrate_tokens,
                     "-r", str(arguments.calibrate_repetitions), "-o", costs)
            for case in arguments.case:
                plan = predict(arguments, case, costs)
                row = compare(case, plan, measure(arguments, case, prompts[case.split("@")[1]]))
                rows[case].append(row)
                print(json.dumps({"round": number, "load": os.getloadavg()[0]} | row), file=out, flush=True)
        medians = [median_row(each) for each in rows.values()]
        summary = summarise(medians)
        for line in medians + [summary]:
            print(json.dumps(line), file=out)
    show(medians, summary)
    return int(summary["summary"]["median_error"] > arguments.within)


if __name__ == "__main__":
    sys.exit(main())
