#!/usr/bin/env python3
"""The experiment's results as tables and plots, from what longrecipe.py left in its folder.

    python3 tests/bench/longrecipe/report.py RUNS [--out FILE.jsonl] [--plots FOLDER]

Prints Markdown: mean and deviation over seeds. --plots needs PyPI matplotlib. --out gathers the rows in one file."""
import argparse
import glob
import json
import os
import statistics

import arms
import evaluate

TASKS = tuple(evaluate.TASKS)


def rows_of(folder):
    rows = []
    for arm in arms.ARMS:
        for path in sorted(glob.glob(os.path.join(folder, "seed-*", f"{arm.name}.json"))):
            with open(path, encoding="utf-8") as file:
                rows.append(json.load(file))
    return rows


def figure(values, form):
    mean = statistics.mean(values)
    return format(mean, form) + (f" ± {format(statistics.stdev(values), form)}" if len(values) > 1 else "")


def of_arm(rows, arm, value):
    return [value(row) for row in rows if row["arm"] == arm]


def table(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(line) + " |" for line in lines])


def found_table(rows, task):
    lengths = sorted({length for row in rows for length in row["found"]}, key=int)
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        lines.append([arm] + [figure(of_arm(rows, arm, lambda row, length=length: 100 * evaluate.mean_found(row["found"][length], task)), ".1f")
                              for length in lengths])
    return table([f"{task}, % found"] + [f"{length} tokens" for length in lengths], lines)


def perplexity_table(rows):
    lengths = sorted({length for row in rows for length in row["perplexity"]}, key=int)
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        cells = [figure(of_arm(rows, arm, lambda row: statistics.mean(row["perplexity"][lengths[0]])), ".3f")]
        for bucket in range(0, evaluate.BUCKETS, 2):
            cells.append(figure(of_arm(rows, arm, lambda row, bucket=bucket: statistics.mean(row["perplexity"][lengths[-1]][bucket:bucket + 2])),
                                ".3f"))
        lines.append([arm] + cells)
    quarters = [f"{lengths[-1]} tokens, quarter {quarter}" for quarter in range(1, 5)]
    return table(["perplexity", f"{lengths[0]} tokens"] + quarters, lines)


def spent_table(rows):
    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows):
        def spent(row, stage, key):
            return row["training"].get(stage, {}).get(key, 0)
        lines.append([arm,
                      figure(of_arm(rows, arm, lambda row: spent(row, "extend", "tokens") / 1e6), ".2f"),
                      figure(of_arm(rows, arm, lambda row: spent(row, "extend", "flops") / 1e12), ".2f"),
                      figure(of_arm(rows, arm, lambda row: spent(row, "extend", "seconds")), ".0f"),
                      figure(of_arm(rows, arm, lambda row: row["seconds"].get("analyze", 0)), ".0f"),
                      figure(of_arm(rows, arm, lambda row: spent(row, "replay", "seconds")), ".0f")])
    return table(["arm", "tokens, M", "extension, TFLOP", "extension, s", "analysis, s", "replay, s"], lines)


def beside_full_table(rows):
    """Seed by seed against the arm of full length: what is found at the target, training FLOPs, and what is lost at the window."""
    lengths = sorted({length for row in rows for length in row["found"]}, key=int)
    full = {row["seed"]: row for row in rows if row["arm"] == "full"}
    untouched = {row["seed"]: row for row in rows if row["arm"] == "untouched"}

    def found(row, length, tasks):
        return statistics.mean(evaluate.mean_found(row["found"][length], task) for task in tasks)

    def flops(row):
        return row["training"]["extend"]["flops"]

    def lost(row, value):
        return 100 * (1 - value(row) / value(untouched[row["seed"]])) if value(untouched[row["seed"]]) else 0.0

    lines = []
    for arm in dict.fromkeys(row["arm"] for row in rows if row["training"]):
        own = [row for row in rows if row["arm"] == arm and row["seed"] in full and row["seed"] in untouched]
        if not own:
            continue
        cells = [figure([100 * found(row, lengths[-1], tasks) / max(found(full[row["seed"]], lengths[-1], tasks), 1e-9) for row in own], ".1f")
                 for tasks in (("one key", "several keys"), ("copying",))]
        cells.append(figure([100 * flops(row) / flops(full[row["seed"]]) for row in own], ".1f"))
        cells.append(figure([lost(row, lambda row: found(row, lengths[0], TASKS)) for row in own], ".1f"))
        cells.append(figure([lost(row, lambda row: 1 / statistics.mean(row["perplexity"][lengths[0]])) for row in own], ".1f"))
        lines.append([arm] + cells)
    return table(["% of full length", "keys found", "strings copied", "FLOPs", f"found, lost at {lengths[0]}", f"perplexity, lost at {lengths[0]}"],
                 lines)


def plot(rows, folder):
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "longhaul", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False,
                                "axes.spines.right": False})
    import matplotlib.pyplot as plt
    lengths = sorted({length for row in rows for length in row["found"]}, key=int)
    picture, panels = plt.subplots(1, len(TASKS) + 1, figsize=(3.6 * (len(TASKS) + 1) + 1.4, 3.4))
    for arm in dict.fromkeys(row["arm"] for row in rows):
        for panel, task in zip(panels, TASKS):
            depths = sorted(rows[0]["found"][lengths[-1]][task], key=float)
            panel.plot([float(depth) for depth in depths],
                       [100 * statistics.mean(of_arm(rows, arm, lambda row, depth=depth: row["found"][lengths[-1]][task][depth]))
                        for depth in depths], marker="o", label=arm)
            panel.set_title(f"{task}, {lengths[-1]} tokens, % found", loc="left")
            panel.set_xlabel("depth")
            panel.set_ylim(0, 102)
        panels[-1].plot([(bucket + 0.5) / evaluate.BUCKETS * int(lengths[-1]) for bucket in range(evaluate.BUCKETS)],
                        [statistics.mean(of_arm(rows, arm, lambda row, bucket=bucket: row["perplexity"][lengths[-1]][bucket]))
                         for bucket in range(evaluate.BUCKETS)], marker="o", label=arm)
    panels[-1].set_title("perplexity by position", loc="left")
    panels[-1].set_ylim(1, 3)  # of arms that lose their way more is cut off
    panels[-1].set_xlabel("tokens")
    panels[-1].legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    picture.tight_layout()
    picture.savefig(os.path.join(folder, "longrecipe.svg"), metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--out")
    parser.add_argument("--plots")
    arguments = parser.parse_args()
    rows = rows_of(arguments.folder)
    if not rows:
        parser.error(f"{arguments.folder} has no results")
    for task in TASKS:
        print(found_table(rows, task), end="\n\n")
    print(perplexity_table(rows), end="\n\n")
    print(spent_table(rows), end="\n\n")
    print(beside_full_table(rows))
    if arguments.out:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
        with open(arguments.out, "w", encoding="utf-8") as file:
            file.write(json.dumps({"manifest": {"command": "tests/bench/longrecipe/longrecipe.py", "cpu": cpu, "cores": os.cpu_count(),
                                                "seeds": sorted({row["seed"] for row in rows})}}) + "\n")
            for row in rows:
                file.write(json.dumps(row) + "\n")
    if arguments.plots:
        plot(rows, arguments.plots)


if __name__ == "__main__":
    main()
