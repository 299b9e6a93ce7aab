#!/usr/bin/env python3
"""Prefill and decode of longhaul beside llama.cpp: the same model file, the same tokens, the same run, alternating.

    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install llama-cpp-python     (compiles for this CPU), or
    python3 -m venv /tmp/llama && /tmp/llama/bin/pip install --no-deps xllamacpp  (ready made; says its CPU features)
    /tmp/llama/bin/python tests/bench/compare_llama.py --bin build/release/bin --model FILE --text FILE --tokens 8192 \\
        --out tests/bench/results/NAME.jsonl

Every engine gets all cores that the process may use. Cases: longhaul with one worker and all threads; longhaul with two
workers that share the same cores; llama.cpp with and without flash attention. The first output line is a manifest; each
further one is a case with every sample, medians, and ratios taken sample by sample against the first case, longhaul's one worker
unless --case leaves it out."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

DECODE_TOKENS = 128
CASES = ["longhaul 1 worker", "longhaul 2 workers", "llama.cpp flash", "llama.cpp"]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True, help="UTF-8 prose, longer than the longest prompt")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--decode-tokens", type=int, default=DECODE_TOKENS)
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def longhaul(arguments, *words):
    command = [os.path.join(arguments.bin, "longhaul"), *words, "--model", arguments.model]
    return json.loads(subprocess.run([*command, "--json"], check=True, capture_output=True, text=True,
                                     timeout=3600).stdout)


def cut(arguments, ids_wanted, folder):
    """A prefix of the text of just under that many tokens; tokens of a prefix may differ at its end, so it is counted
    again."""
    with open(arguments.text, encoding="utf-8") as file:
        text = file.read()
    low, high = 1, len(text)
    path = os.path.join(folder, "prompt.txt")

    def count(characters):
        with open(path, "w", encoding="utf-8") as out:
            out.write(text[:characters])
        return longhaul(arguments, "tokenize", "--file", path)["token_ids"]

    while high - low > 8:
        middle = (low + high) // 2
        if len(count(middle)) <= ids_wanted:
            low = middle
        else:
            high = middle
    return path, count(low)


def run_longhaul(arguments, path, cores, workers):
    words = ["--workers", str(workers), "--threads", str(max(1, cores // workers)), "--raw", "--prompt-file", path,
             "--max-tokens", str(arguments.decode_tokens)]
    result = longhaul(arguments, "run", *words)
    usage, seconds = result["usage"], result["seconds"]
    return (usage["prompt_tokens"] / seconds["prefill"],
            (usage["completion_tokens"] - 1) / seconds["decode"] if usage["completion_tokens"] > 1 else None)


def run_llama_cpp_python(arguments, ids, cores, flash):
    from llama_cpp import Llama
    llama = Llama(arguments.model, n_ctx=len(ids) + arguments.decode_tokens + 8, n_threads=cores, n_threads_batch=cores,
                  n_batch=512, n_ubatch=512, flash_attn=flash, verbose=False)
    start = time.monotonic()
    llama.eval(ids)
    prefill = time.monotonic() - start
    token = ids[-1]
    start = time.monotonic()
    for _ in range(arguments.decode_tokens):
        llama.eval([token])
    decode = time.monotonic() - start
    llama.close()
    return len(ids) / prefill, arguments.decode_tokens / decode


# In a process of its own: the library's threads spin on after the work.
XLLAMACPP = """
import json, sys, xllamacpp
model, cores, flash, count = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True", int(sys.argv[4])
ids = json.load(sys.stdin)
params = xllamacpp.CommonParams()
params.model.path = model
params.n_ctx = len(ids) + count + 8
params.n_batch = params.n_ubatch = 512
params.n_parallel = 1
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = cores
kinds = xllamacpp.llama_flash_attn_type
params.flash_attn_type = kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
reply = xllamacpp.Server(params).handle_completions(
    {"prompt": ids, "n_predict": count, "cache_prompt": False, "ignore_eos": True, "temperature": 0})
print(json.dumps([reply["timings"], xllamacpp.get_system_info()]))
"""


def run_xllamacpp(arguments, ids, cores, flash):
    reply = subprocess.run([sys.executable, "-c", XLLAMACPP, arguments.model, str(cores), str(flash),
                            str(arguments.decode_tokens)], input=json.dumps(ids), check=True, stdout=subprocess.PIPE,
                           stderr=subprocess.DEVNULL, text=True, timeout=3600).stdout
    timings, _ = json.loads(reply.splitlines()[-1])
    assert timings["prompt_n"] == len(ids), timings
    return timings["prompt_per_second"], timings["predicted_per_second"]


def llama_runner():
    """The function, and what it is."""
    try:
        import llama_cpp
        return run_llama_cpp_python, f"llama-cpp-python {llama_cpp.__version__}"
    except ImportError:
        import xllamacpp
        return run_xllamacpp, f"xllamacpp {xllamacpp.__version__}, {xllamacpp.get_system_info().strip()}"


def summary(samples, baseline):
    rows = {}
    for part, name in ((0, "prefill"), (1, "decode")):
        values = [sample[part] for sample in samples if sample[part] is not None]
        base = [sample[part] for sample in baseline if sample[part] is not None]
        if not values:
            continue
        rows[f"{name}_tokens_per_second"] = [round(value, 2) for value in values]
        rows[f"{name}_median"] = round(statistics.median(values), 2)
        rows[f"{name}_over_first_case"] = round(statistics.median(a / b for a, b in zip(values, base)), 3)
    return rows


def main():
    arguments = parse()
    cores = len(os.sched_getaffinity(0))
    llama_build = "left out"
    runners = {"longhaul 1 worker": lambda path, ids: run_longhaul(arguments, path, cores, 1),
               "longhaul 2 workers": lambda path, ids: run_longhaul(arguments, path, cores, 2)}
    if any(name.startswith("llama.cpp") for name in arguments.case):
        run_llama, llama_build = llama_runner()
        runners["llama.cpp flash"] = lambda path, ids: run_llama(arguments, ids, cores, True)
        runners["llama.cpp"] = lambda path, ids: run_llama(arguments, ids, cores, False)
    cases = {name: runners[name] for name in CASES if name in arguments.case}
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    doctor = json.loads(subprocess.run([os.path.join(arguments.bin, "longhaul-worker"), "--describe"], check=True,
                                       capture_output=True, text=True, timeout=60).stdout)
    with open(arguments.out, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"manifest": {
            "command": "tests/bench/compare_llama.py", "commit": commit, "cpu": model, "cores": cores,
            "kernels": doctor["best_kernels"], "llama": llama_build, "system": platform.platform(), "model": os.path.basename(arguments.model),
            "decode_tokens": arguments.decode_tokens, "load_average": os.getloadavg()[0]}}), file=out, flush=True)
        for tokens in arguments.tokens:
            path, ids = cut(arguments, tokens, folder)
            samples = {name: [] for name in cases}
            for _ in range(arguments.repeats):
                for name, case in cases.items():
                    samples[name].append(case(path, ids))
                    print(f"{len(ids)} tokens, {name}: prefill {samples[name][-1][0]:.1f}/s, "
                          f"decode {samples[name][-1][1] or 0:.1f}/s", flush=True)
            for name in cases:
                row = {"case": name, "prompt_tokens": len(ids), **summary(samples[name], samples[next(iter(cases))])}
                print(json.dumps(row), file=out, flush=True)
                print(json.dumps(row), flush=True)


main()
