#!/usr/bin/env python3
"""A training step beside torch's: float32 against float32, the same shape, tokens and cores, the same run, alternating.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch numpy
    /tmp/torch/bin/python tests/bench/train_step.py --bin build/release/tests --threads 2 --out tests/bench/results/NAME.jsonl

The shape is --shape (a config.json), or Llama's with 124 M parameters: hidden 768, feed-forward 2048, 12 layers of 12 heads, 50,257
words, tied. A step is forward, backward, clipping and AdamW on one sequence of --tokens. `step_bench` makes longhaul's,
train_step_torch.py torch's; each makes one to warm up, and then they take turns, each first in every other round.
--llmc takes the CPU program of llm.c that you have built (this tree never builds it): it runs by itself after the others, where its
files lie, and has the batch that it was compiled with (--llmc-tokens a step); its model is GPT-2's.

The first output line is a manifest; then a line for each engine with every step's seconds, medians, tokens/s; the ratio of torch's
seconds over longhaul's by rounds (median, lowest, highest); and longhaul's ops, medians of processor seconds of all threads, with
their share of all ops and, where arithmetic bounds them, of the peak that the same run's probe gives."""
import argparse
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SHAPE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 768, "intermediate_size": 2048,
         "num_hidden_layers": 12, "num_attention_heads": 12, "num_key_value_heads": 12, "vocab_size": 50257, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "max_position_embeddings": 1024, "tie_word_embeddings": True, "hidden_act": "silu"}
LLMC_STEP = re.compile(r"^step \d+.*took ([0-9.]+) ms")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True, help="the folder of step_bench")
    parser.add_argument("--shape", help="a config.json of Llama form")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kernels", default="avx2")
    parser.add_argument("--activations", choices=["keep", "recompute"], default="keep", help="torch keeps them")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--pause", type=float, default=0.1, help="seconds before each turn, in which the other's threads go to sleep")
    parser.add_argument("--no-torch", action="store_true", help="longhaul's steps and ops alone")
    parser.add_argument("--llmc", metavar="BINARY")
    parser.add_argument("--llmc-tokens", type=int, default=256)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


class Engine:
    """A program that says what it is in its first line, and answers each further line of input with one of JSON."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.facts = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.process.args[0]} ended with code {self.process.wait()}")
        return json.loads(line)

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        return self.answer()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def take_turns(arguments, engines):
    """Per engine its steps, after one that warms up."""
    steps = {name: [] for name in engines}
    for round_number in range(arguments.rounds + 1):
        names = list(engines) if round_number % 2 == 0 else list(reversed(engines))
        for name in names:
            time.sleep(arguments.pause)
            step = engines[name].ask("step")
            if round_number > 0:
                steps[name].append(step)
    return steps


def run_llmc(arguments):
    """Seconds of its steps but for the first."""
    binary = os.path.abspath(arguments.llmc)
    process = subprocess.Popen([binary], cwd=os.path.dirname(binary), stdout=subprocess.PIPE, text=True, errors="replace",
                               env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
    seconds = []
    for line in process.stdout:
        found = LLMC_STEP.match(line)
        if found:
            seconds.append(float(found[1]) / 1000)
        if len(seconds) == arguments.rounds + 1:
            break
    process.kill()
    process.wait()
    if len(seconds) < 2:
        sys.exit(f"{binary} printed no two lines of the form `step N: ... (took T ms)`")
    return seconds[1:]


def engine_row(name, facts, seconds, tokens, steps=()):
    median = statistics.median(seconds)
    parts = {key: round(statistics.median(step[key] for step in steps), 4) for key in (steps[0] if steps else {})
             if key in ("gradient", "forward", "backward", "update")}
    return {"engine": name, **facts, "seconds": [round(each, 4) for each in seconds], "median": round(median, 4),
            "tokens_per_second": round(tokens / median, 1), **parts}


def op_rows(timed_steps, threads, peak):
    """Medians over the steps with a clock in every op."""
    names = [op["op"] for op in timed_steps[0]["ops"]]
    rows = []
    for place, name in enumerate(names):
        ops = [step["ops"][place] for step in timed_steps]
        assert all(op["op"] == name for op in ops)
        seconds = statistics.median(op["thread_seconds"] for op in ops)
        rows.append({"op": name, "calls": ops[0]["calls"], "thread_seconds": round(seconds, 5)})
        if ops[0]["gflop"] > 0:
            rows[-1]["peak_share"] = round(ops[0]["gflop"] / seconds / (peak / threads), 3)
    total = sum(row["thread_seconds"] for row in rows)
    for row in rows:
        row["share"] = round(row["thread_seconds"] / total, 4)
    wall = statistics.median(step["seconds"] for step in timed_steps)
    gflop = sum(op["gflop"] for op in timed_steps[0]["ops"])
    rows.append({"op": "all", "thread_seconds": round(total, 5), "share_of_threads": round(total / threads / wall, 3),
                 "gflop": round(gflop, 1), "peak_share_of_step": round(gflop / wall / peak, 3)})
    return rows


def manifest(arguments, peaks):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE).stdout.strip()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    return {"command": "tests/bench/train_step.py", "commit": commit, "cpu": cpu, "system": platform.platform(),
            "tokens": arguments.tokens, "threads": arguments.threads, "rounds": arguments.rounds,
            "peak_gflops": peaks, "load_average": os.getloadavg()[0]}


def main():
    arguments = parse()
    with tempfile.TemporaryDirectory() as folder:
        shape = arguments.shape
        if not shape:
            shape = os.path.join(folder, "config.json")
            with open(shape, "w", encoding="utf-8") as file:
                json.dump(SHAPE, file)
        engines = {"longhaul": Engine(os.path.join(arguments.bin, "step_bench"), shape, str(arguments.tokens), str(arguments.threads),
                                      arguments.kernels, "F32", arguments.activations)}
        if not arguments.no_torch:
            engines["torch"] = Engine(sys.executable, str(HERE / "train_step_torch.py"), "--shape", shape, "--tokens",
                                      str(arguments.tokens), "--threads", str(arguments.threads))
        steps = take_turns(arguments, engines)
        timed = [engines["longhaul"].ask("ops") for _ in range(3)]
        peaks = [engines["longhaul"].ask("peak")["peak_gflops"] for _ in range(3)]
        for engine in engines.values():
            engine.close()
    rows = [{"manifest": manifest(arguments, peaks)}]
    seconds = {name: [step["seconds"] for step in steps[name]] for name in engines}
    for name, engine in engines.items():
        rows.append(engine_row(name, engine.facts, seconds[name], arguments.tokens, steps[name]))
    if "torch" in engines:
        ratios = sorted(b / a for a, b in zip(seconds["longhaul"], seconds["torch"]))
        rows.append({"torch_over_longhaul": round(statistics.median(ratios), 3), "lowest": round(ratios[0], 3),
                     "highest": round(ratios[-1], 3)})
    if arguments.llmc:
        rows.append(engine_row("llm.c", {"tokens": arguments.llmc_tokens}, run_llmc(arguments), arguments.llmc_tokens))
    rows += op_rows(timed, arguments.threads, statistics.median(peaks))
    with open(arguments.out, "w", encoding="utf-8") as out:
        for row in rows:
            print(json.dumps(row), file=out)
            print(json.dumps(row))


if __name__ == "__main__":
    main()
