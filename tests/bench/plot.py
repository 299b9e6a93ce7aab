#!/usr/bin/env python3
"""Draws docs/plots from recorded results: needs PyPI matplotlib.

    python3 tests/bench/plot.py --lengths tests/bench/results/A.jsonl [MORE.jsonl] --long tests/bench/results/B.jsonl --out docs/plots
    python3 tests/bench/plot.py --gpu tests/bench/results/h200-attention.jsonl --out docs/plots

Of several samples of a case it takes the one whose prefill took the middle of times."""
import argparse
import json
import os

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "longhaul", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
import matplotlib.pyplot as plt

BUCKET = 1024


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def middle(row):
    samples = sorted(row["samples"], key=lambda sample: sample["prefill_seconds"])
    return samples[len(samples) // 2]


def save(figure, folder, name):
    figure.tight_layout()
    figure.savefig(os.path.join(folder, name), metadata={"Date": None})
    plt.close(figure)


def plot_lengths(rows, folder):
    """Prefill seconds and planned memory by tokens, a line a method, one worker."""
    methods = {}
    for row in rows:
        if "case" in row:
            method, _, workers = row["case"].split("@")
            if workers == "1":
                methods.setdefault(method, []).append(middle(row))
    figure, (time, memory) = plt.subplots(1, 2, figsize=(9, 3.4))
    for method, samples in methods.items():
        samples.sort(key=lambda sample: sample["prompt_tokens"])
        tokens = [sample["prompt_tokens"] for sample in samples]
        time.plot(tokens, [sample["prefill_seconds"] for sample in samples], marker="o", label=method)
        memory.plot(tokens, [sample["plan_memory_bytes"] / 1e6 for sample in samples], marker="o", label=method)
    for axes, title in ((time, "prefill, seconds"), (memory, "planned memory, MB")):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("tokens of the prompt")
        axes.set_title(title, loc="left")
    time.set_yscale("log")
    memory.set_ylim(bottom=0)
    time.legend(frameon=False)
    save(figure, folder, "lengths.svg")


def plot_parts(rows, folder):
    """Where prefill and decode go, as shares, for one worker."""
    rows = [row for row in rows if "case" in row and row["case"].endswith("@1")]
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.6 + 0.42 * len(rows)), sharey=True)
    names = [row["case"].rsplit("@", 1)[0].replace("@", ", ") for row in rows]
    for axis, whole, prefix, title in ((axes[0], "prefill_seconds", ("rows", "attend", "head"), "prefill"),
                                       (axes[1], "decode_seconds", ("step_qkv", "step_attend", "step_output", "step_gate",
                                                                    "step_down", "step_logits"), "decode")):
        left = [0.0] * len(rows)
        for part in prefix:
            shares = [middle(row)["parts_seconds"][part] / middle(row)[whole] for row in rows]
            axis.barh(names, shares, left=left, label=part.replace("step_", ""))
            left = [a + b for a, b in zip(left, shares)]
        axis.barh(names, [1 - share for share in left], left=left, color="lightgray", label="other")
        axis.set_title(f"share of {title}", loc="left")
        axis.invert_yaxis() if axis is axes[0] else None
        axis.legend(frameon=False, ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    save(figure, folder, "parts.svg")


def plot_long(rows, folder):
    """The loss by position beyond the trained window."""
    figure, axes = plt.subplots(figsize=(9, 3.4))
    for row in rows:
        if row.get("check") == "perplexity":
            values = row["nll_by_bucket"]
            axes.plot([BUCKET * (i + 0.5) for i in range(len(values))], values, marker=".", label=row["method"])
    axes.axvline(8192, color="gray", linewidth=0.8)
    axes.set_xlabel("position in the text (trained to 8,192)")
    axes.set_title("mean negative log-likelihood of each 1,024 tokens", loc="left")
    axes.legend(frameon=False, fontsize=8)
    save(figure, folder, "beyond-the-window.svg")


def plot_gpu(rows, folder):
    """Prefill attention on a GPU by tokens, beside torch's, one panel a width; decode's share of the copy rate."""
    lines_of = {}
    for row in rows:
        if "tflops" in row and "method" in row:
            name = row["bench"].replace("attention_prefill", "longhaul").replace("_attention", "").replace("torch_", "torch ")
            lines_of.setdefault((row["head_dim"], name, row["method"]), []).append((row["tokens"], row["tflops"]))
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.6))
    for axes, head_dim in zip(panels, (64, 128)):
        for (width, name, method), points in lines_of.items():
            if width == head_dim:
                style = {"marker": "o"} if name == "longhaul" else {"marker": "s", "linestyle": "--", "color": "gray" if "flash" in name else "black"}
                axes.plot(*zip(*sorted(points)), label=f"{name} {method}" if name == "longhaul" else name, **style)
        axes.set_ylim(bottom=0)
        axes.set_title(f"prefill, head_dim {head_dim}, TFLOP/s", loc="left")
    for head_dim in (64, 128):
        points = [(row["tokens"], row["share_of_copy_rate"]) for row in rows
                  if row.get("bench") == "attention_decode" and row["method"] == "rope" and row["head_dim"] == head_dim]
        panels[2].plot(*zip(*sorted(points)), marker="o", label=f"head_dim {head_dim}")
    panels[2].axhline(0.85, color="gray", linewidth=0.8)
    panels[2].set_ylim(bottom=0)
    panels[2].set_title("decode, share of the copy rate", loc="left")
    for axes in panels:
        axes.set_xscale("log", base=2)
        axes.set_xlabel("tokens")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    save(figure, folder, "h200-attention.svg")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--lengths", nargs="+", default=[])
    parser.add_argument("--long")
    parser.add_argument("--gpu")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    os.makedirs(arguments.out, exist_ok=True)
    if arguments.lengths:
        rows = [row for path in arguments.lengths for row in lines(path)]
        plot_lengths(rows, arguments.out)
        plot_parts(rows, arguments.out)
    if arguments.long:
        plot_long(lines(arguments.long), arguments.out)
    if arguments.gpu:
        plot_gpu(lines(arguments.gpu), arguments.out)


main()
