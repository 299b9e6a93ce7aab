#!/usr/bin/env python3
"""The products of a training step beside torch's, in float32: the same shapes, the same threads, the same run, alternating.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install torch
    /tmp/torch/bin/python tests/bench/product_torch.py --bin build/release/tests --threads 2 \\
        --out tests/bench/results/NAME.jsonl

`product_bench --turns` takes every other turn; its head says what the shapes are. The first output line is a manifest;
each further one is a product with the medians of both by the clock and by processor time, and the ratio torch / longhaul
of each pair of neighbouring turns: its median, lowest and highest. Shares are of the peak that product_bench probes in the same
rounds. Whoever just ran may leave threads that spin: --pause seconds pass before each turn."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import time

import torch


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True, help="the folder of product_bench")
    parser.add_argument("--kernels", default="avx2")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--pause", type=float, default=0.05)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


class Bench:
    def __init__(self, arguments):
        command = [os.path.join(arguments.bin, "product_bench"), arguments.kernels, str(arguments.threads), "F32", "--turns"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        count = int(self.process.stdout.readline())
        self.cases = [json.loads(self.process.stdout.readline()) for _ in range(count)]

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        return [float(word) for word in self.process.stdout.readline().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Torch:
    """Operands of every shape, made once; results go to memory that is there, as longhaul's do."""

    def __init__(self, cases):
        most = {key: max(case[a] * case[b] for case in cases)
                for key, (a, b) in {"x": ("tokens", "in"), "w": ("in", "out"), "y": ("tokens", "out")}.items()}
        self.memory = {key: torch.rand(count) for key, count in most.items()}
        self.result = torch.zeros(max(most.values()))

    def view(self, key, rows, columns):
        return self.memory[key][:rows * columns].view(rows, columns)

    def run(self, case):
        tokens, inner, outer = case["tokens"], case["in"], case["out"]
        x, w, y = self.view("x", tokens, inner), self.view("w", outer, inner), self.view("y", tokens, outer)
        rows, columns = {"forward": (tokens, outer), "dx": (tokens, inner), "dw": (outer, inner)}[case["form"]]
        result = self.result[:rows * columns].view(rows, columns)
        wall, cpu = time.perf_counter(), time.process_time()
        if case["form"] == "forward":
            torch.mm(x, w.t(), out=result)
        elif case["form"] == "dx":
            torch.mm(y, w, out=result)
        else:
            result.addmm_(y.t(), x)
        return [time.perf_counter() - wall, time.process_time() - cpu]


def row_of(case, ours, theirs, peak):
    operations = 2e-9 * case["tokens"] * case["in"] * case["out"]
    wall = [[turn[0] for turn in turns] for turns in (ours, theirs)]
    cpu = [statistics.median(turn[1] for turn in turns) for turns in (ours, theirs)]
    ratios = sorted(b / a for a, b in zip(*wall))
    medians = [statistics.median(turns) for turns in wall]
    return {**{key: case[key] for key in ("form", "tokens", "in", "out")},
            "longhaul_seconds": round(medians[0], 6), "torch_seconds": round(medians[1], 6),
            "longhaul_cpu_seconds": round(cpu[0], 6), "torch_cpu_seconds": round(cpu[1], 6),
            "longhaul_peak_share": round(operations / medians[0] / peak, 3),
            "torch_peak_share": round(operations / medians[1] / peak, 3),
            "torch_over_longhaul": round(statistics.median(ratios), 3), "lowest": round(ratios[0], 3),
            "highest": round(ratios[-1], 3), "cpu_torch_over_longhaul": round(cpu[1] / cpu[0], 3)}


def measure(arguments, bench, torch_side):
    turns = [([], []) for _ in bench.cases]
    peaks = []
    for round_number in range(arguments.rounds + 1):
        for number, case in enumerate(bench.cases):
            time.sleep(arguments.pause)
            ours = bench.ask(number)
            time.sleep(arguments.pause)
            theirs = torch_side.run(case)
            if round_number > 0:  # the first one warms both up
                turns[number][0].append(ours)
                turns[number][1].append(theirs)
        time.sleep(arguments.pause)
        peaks += bench.ask("peak")
    return turns, statistics.median(peaks)


def main():
    arguments = parse()
    torch.set_num_threads(arguments.threads)
    bench = Bench(arguments)
    turns, peak = measure(arguments, bench, Torch(bench.cases))
    bench.close()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    with open(arguments.out, "w", encoding="utf-8") as out:
        print(json.dumps({"manifest": {
            "command": "tests/bench/product_torch.py", "commit": commit, "cpu": cpu, "system": platform.platform(),
            "kernels": arguments.kernels, "threads": arguments.threads, "rounds": arguments.rounds,
            "torch": torch.__version__, "torch_blas": "MKL" if torch.backends.mkl.is_available() else "other",
            "peak_gflops": peak, "load_average": os.getloadavg()[0]}}), file=out)
        for case, (ours, theirs) in zip(bench.cases, turns):
            row = row_of(case, ours, theirs, peak)
            print(json.dumps(row), file=out)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
