#!/usr/bin/env python3
"""How time, memory and bytes grow with the length of a prompt, for one method after another, and where a step's time goes.

    python3 tests/bench/lengths.py --bin build/release/bin --model FILE --text deploy/genesis.txt \\
        --out tests/bench/results/NAME.jsonl [--case rope@8192@1 ...] [--repeats N] \\
        [--decode-tokens N] [--read-bench build/release/tests/read_bench]

A case is METHOD@TOKENS@WORKERS, METHOD as on the command line. All workers together get the cores that the process may use. Cases
alternate, so that a ratio of two lies within one run. The prompt is the text, again and again. The first line is a
manifest; each further one is a case with every sample: tokens/s of prefill and decode, the plan's memory, the most that a rank
held, bytes sent, seconds of each part of rank 0, and what memory gave just before and just after (--read-bench)."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import tempfile

CASES = ["rope@2048@1", "rope@2048@2", "rope@8192@1", "rope@8192@2", "string@8192@1", "lm_infinite:window=2048@8192@1",
         "lm_infinite:window=2048@32768@1", "rope@32768@1", "lm_infinite:window=2048@131072@1"]
DECODE_TOKENS = 128


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True)
    parser.add_argument("--case", nargs="+", default=CASES)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--read-bench", help="path of read_bench: adds the read bandwidth of all cores beside every sample")
    parser.add_argument("--decode-tokens", type=int, default=DECODE_TOKENS)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def longhaul(arguments, *words):
    command = [os.path.join(arguments.bin, "longhaul"), *words, "--model", arguments.model, "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=7200).stdout)


def write_prompt(arguments, path, tokens):
    """The text, repeated and cut to about that many tokens: characters a token hardly vary."""
    with open(arguments.text, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as out:
        out.write(text)
    characters = int(len(text) * tokens / len(longhaul(arguments, "tokenize", "--file", path)["token_ids"]))
    with open(path, "w", encoding="utf-8") as out:
        out.write((text * (characters // len(text) + 1))[:characters])


def run(arguments, case, folder, cores):
    method, tokens, workers = case.split("@")
    path = os.path.join(folder, f"prompt-{tokens}.txt")
    if not os.path.exists(path):
        write_prompt(arguments, path, int(tokens))
    result = longhaul(arguments, "run", "--method", method, "--workers", workers, "--threads",
                      str(max(1, cores // int(workers))), "--raw", "--prompt-file", path, "--max-tokens", str(arguments.decode_tokens))
    usage, seconds = result["usage"], result["seconds"]
    steps = usage["completion_tokens"] - 1
    return {"prompt_tokens": usage["prompt_tokens"], "prefill_seconds": seconds["prefill"],
            "prefill_tokens_per_second": usage["prompt_tokens"] / seconds["prefill"],
            "decode_tokens_per_second": steps / seconds["decode"] if steps > 0 else None,
            "plan_memory_bytes": result["plan"]["memory_bytes"], "sent_bytes": sum(rank["sent_bytes"] for rank in result["ranks"]),
            "exchange_wait_seconds": max(rank["exchange_wait_seconds"] for rank in result["ranks"]),
            "peak_resident_bytes": max(rank["peak_resident_bytes"] for rank in result["ranks"]),
            "parts_seconds": result["ranks"][0]["parts"], "decode_steps": steps, "decode_seconds": seconds["decode"]}


def read_gbytes(arguments, cores):
    """The median over a second, by the clock."""
    if not arguments.read_bench:
        return None
    line = subprocess.run([arguments.read_bench, str(min(cores, 64))], check=True, capture_output=True, text=True, timeout=600).stdout
    return json.loads(line)["gbytes_median"]


def manifest(arguments, cores):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    worker = json.loads(subprocess.run([os.path.join(arguments.bin, "longhaul-worker"), "--describe"], check=True,
                                       capture_output=True, text=True, timeout=60).stdout)
    return {"command": "tests/bench/lengths.py", "commit": commit, "cpu": cpu, "cores": cores, "kernels": worker["best_kernels"],
            "system": platform.platform(), "model": os.path.basename(arguments.model), "decode_tokens": arguments.decode_tokens,
            "load_average": os.getloadavg()[0]}


def main():
    arguments = parse()
    cores = len(os.sched_getaffinity(0))
    samples = {case: [] for case in arguments.case}
    with open(arguments.out, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"manifest": manifest(arguments, cores)}), file=out, flush=True)
        for repeat in range(arguments.repeats):
            for case in arguments.case:
                before = read_gbytes(arguments, cores)
                sample = run(arguments, case, folder, cores)
                sample["read_gbytes_per_second"] = [before, read_gbytes(arguments, cores)]
                samples[case].append(sample)
                print(f"{case}: {sample['prompt_tokens']} tokens in {sample['prefill_seconds']:.1f} s, "
                      f"{sample['prefill_tokens_per_second']:.1f}/s, decode {sample['decode_tokens_per_second'] or 0:.1f}/s, "
                      f"{sample['plan_memory_bytes'] / 1e6:.0f} MB", flush=True)
                if repeat + 1 == arguments.repeats:
                    rates = [one["prefill_tokens_per_second"] for one in samples[case]]
                    print(json.dumps({"case": case, "prefill_median": statistics.median(rates), "samples": samples[case]}),
                          file=out, flush=True)


main()
