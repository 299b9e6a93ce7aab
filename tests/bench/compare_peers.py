#!/usr/bin/env python3
"""Prefill and decode of longhaul beside other engines on CPUs: the same model file, the same tokens, the same run, alternating.

    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install llama-cpp-python     (compiles for this CPU), or
    python3 -m venv /tmp/peers && /tmp/peers/bin/pip install --no-deps xllamacpp  (ready made; says its CPU features)
    /tmp/peers/bin/python tests/bench/compare_peers.py --bin build/release/bin --model FILE --text FILE --tokens 2048 8192 \\
        --out tests/bench/results/NAME.jsonl [--ik-llama FOLDER/llama-bench] [--plot FILE.svg] [--kernels avx2]

Every engine gets all cores that the process may use. Cases: longhaul with one worker and all threads; longhaul with two workers
that share the same cores; llama.cpp with and without flash attention; ik_llama.cpp with flash attention, by its llama-bench, with
keys and values in 16 bits and in 8 (`-ctk q8_0 -ctv q8_0`). Those that are not there are left out, and the manifest says so.

The first line of --out is a manifest; each further one is a case with every sample, medians, and ratios taken sample by sample
against the first case, longhaul's one worker unless --case leaves it out. At the end it prints a table; --plot, which needs PyPI
matplotlib, draws it."""
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
CASES = ["longhaul 1 worker", "longhaul 2 workers", "llama.cpp flash", "llama.cpp", "ik_llama 16 bits", "ik_llama 8 bits"]
CACHES = {"ik_llama 16 bits": "f16", "ik_llama 8 bits": "q8_0"}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True, help="UTF-8 prose, longer than the longest prompt")
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--decode-tokens", type=int, default=DECODE_TOKENS)
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--ik-llama", help="llama-bench of an ik_llama.cpp that you built")
    parser.add_argument("--kernels", help="longhaul's variant; else the best here")
    parser.add_argument("--out", required=True)
    parser.add_argument("--plot", help="an SVG file")
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
             "--draft", "none", "--max-tokens", str(arguments.decode_tokens), *(["--kernels", arguments.kernels] if arguments.kernels else [])]
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
    """The function, None where there is no llama.cpp, and what it is."""
    try:
        import llama_cpp
        return run_llama_cpp_python, f"llama-cpp-python {llama_cpp.__version__}"
    except ImportError:
        pass
    try:
        import xllamacpp
        return run_xllamacpp, f"xllamacpp {xllamacpp.__version__}, {xllamacpp.get_system_info().strip()}"
    except ImportError:
        return None, "not installed"


def run_ik_llama(arguments, ids, cores, cache):
    """Its llama-bench makes tokens of its own; as many as `ids`."""
    rates = []
    for words in (["-p", str(len(ids)), "-n", "0"], ["-p", "0", "-n", "0", "-gp", f"{len(ids)},{arguments.decode_tokens}"]):
        done = subprocess.run([arguments.ik_llama, "-m", arguments.model, "-t", str(cores), "-r", "1", "-fa", "1", "-ctk", cache,
                               "-ctv", cache, *words, "-o", "json"], check=True, capture_output=True, text=True, timeout=3600)
        rates.append(json.loads(done.stdout)[-1]["avg_ts"])
    return tuple(rates)


def cases_of(arguments, cores, llama):
    """{name: function of a prompt's file and ids} of those that are here."""
    cases = {f"longhaul {workers} worker{'s' if workers > 1 else ''}":
             lambda path, ids, workers=workers: run_longhaul(arguments, path, cores, workers) for workers in (1, 2)}
    if llama:
        cases |= {name: lambda path, ids, flash=flash: llama(arguments, ids, cores, flash)
                  for name, flash in (("llama.cpp flash", True), ("llama.cpp", False))}
    if arguments.ik_llama:
        cases |= {name: lambda path, ids, cache=cache: run_ik_llama(arguments, ids, cores, cache) for name, cache in CACHES.items()}
    return {name: cases[name] for name in CASES if name in cases and name in arguments.case}


def table(rows):
    lengths = sorted({row["prompt_tokens"] for row in rows})
    head = ["tokens/s, medians", *(f"{part}, {length:,}" for part in ("prefill", "decode at") for length in lengths)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name in dict.fromkeys(row["case"] for row in rows):
        of_case = {row["prompt_tokens"]: row for row in rows if row["case"] == name}
        cells = [f"{of_case[length][f'{part}_median']:.0f} ({of_case[length][f'{part}_over_first_case']:.2f})"
                 if f"{part}_median" in of_case.get(length, {}) else "" for part in ("prefill", "decode") for length in lengths]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


def plot(rows, path):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "longhaul", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False})
    import matplotlib.pyplot as plt
    names = list(dict.fromkeys(row["case"] for row in rows))
    lengths = sorted({row["prompt_tokens"] for row in rows})
    picture, panels = plt.subplots(1, 2, figsize=(9, 3.4))
    for panel, part in zip(panels, ("prefill", "decode")):
        for n, name in enumerate(names):
            of_case = {row["prompt_tokens"]: row.get(f"{part}_median", 0) for row in rows if row["case"] == name}
            places = [place + (n - (len(names) - 1) / 2) * 0.8 / len(names) for place in range(len(lengths))]
            panel.bar(places, [of_case.get(length, 0) for length in lengths], 0.8 / len(names), label=name)
        panel.set_xticks(range(len(lengths)), [f"{length:,}" for length in lengths])
        panel.set_xlabel("tokens of the prompt")
        panel.set_title(f"{part}, tokens/s", loc="left")
    panels[0].legend(frameon=False, fontsize=8)
    picture.tight_layout()
    picture.savefig(path, metadata={"Date": None})


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
    llama, llama_build = llama_runner()
    cases = cases_of(arguments, cores, llama)
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                            check=False).stdout.strip()
    doctor = json.loads(subprocess.run([os.path.join(arguments.bin, "longhaul-worker"), "--describe"], check=True,
                                       capture_output=True, text=True, timeout=60).stdout)
    with open(arguments.out, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
        print(json.dumps({"manifest": {
            "command": "tests/bench/compare_peers.py", "commit": commit, "cpu": model, "cores": cores,
            "kernels": arguments.kernels or doctor["best_kernels"], "llama": llama_build, "ik_llama": arguments.ik_llama is not None, "system": platform.platform(), "model": os.path.basename(arguments.model),
            "decode_tokens": arguments.decode_tokens, "load_average": os.getloadavg()[0]}}), file=out, flush=True)
        rows = []
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
                rows.append(row)
    print(table(rows))
    if arguments.plot:
        plot(rows, arguments.plot)


main()
