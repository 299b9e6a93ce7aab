#!/usr/bin/env python3
"""What the methods are worth on a small model beyond its trained window: losses by position, numbers found, ablations.

    /usr/bin/python3 tests/bench/effect.py run --bin build/release/bin --model FILE --folder RUNS [--pieces NAME ...] [--seconds N]
    /usr/bin/python3 tests/bench/effect.py plan --bin build/release/bin --model FILE        # what each piece takes, as plans foretell
    /usr/bin/python3 tests/bench/effect.py report RUNS --out FOLDER                         # effect.md and the plots of what is there

Each piece is one `longhaul eval` in a folder of its own below RUNS, which says in its manifest what was asked. What is finished there
is not done again; a piece that was broken off, by Ctrl-C, by --seconds or by a kill, goes on where it was. --lengths replaces those
of a piece, and puts it into a folder of its own: the smallest run is `--pieces passkey --lengths 2048`.

The text is Debian's bible-kjv without the verses' names, from Leviticus on: models know the first chapters of the Bible by heart.
Methods whose spelling this program does not know are left out, and named."""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

TRAINED = 8192  # tokens, of the model that the pieces are made for
LONG = 16384
# Thirds of the published ranges' length are of LONG; windows are the trained one.
STRING = f"string:shift={LONG // 3 // 64 * 64},local=128"
LM_INFINITE = f"lm_infinite:window={TRAINED // 2},sinks=10"
METHODS = ["rope", STRING, LM_INFINITE, LM_INFINITE + ",top_k=5,from_layer=4", f"streaming_llm:window={TRAINED // 2},sinks=4",
           f"dca:chunk={TRAINED * 3 // 4},local={TRAINED // 16}", f"self_extend:window={TRAINED // 8},group=8", f"rerope:window={TRAINED // 2}", f"leaky_rerope:window={TRAINED // 2},factor=8",
           "rope+yarn:factor=2", "rope+ntk:factor=2"]
FINDING = [METHODS[0], METHODS[1], METHODS[2], METHODS[3], METHODS[5], METHODS[6], "rope+yarn:factor=2"]
SINKS = [f"lm_infinite:window={TRAINED // 2},sinks=0", f"streaming_llm:window={TRAINED // 2},sinks=10", f"rerope:window={TRAINED // 2}", LM_INFINITE]
SHIFTS = [f"string:shift={int(part * LONG) // 64 * 64},local=128" for part in (1 / 7, 1 / 5, 1 / 4, 1 / 3, 2 / 5, 1 / 2)]
LOCALS = [f"string:shift={LONG // 3 // 64 * 64},local={local}" for local in (4, 32, 64, 128, 256, 512)]


class Piece:
    def __init__(self, name, tasks, methods, lengths, samples, title, depths=None):
        self.name, self.tasks, self.methods, self.lengths, self.samples = name, tasks, methods, lengths, samples
        self.title, self.depths = title, depths

    def lines(self):
        """Prompts a method and length."""
        return self.samples * (len(self.depths) if self.depths else 1)


PIECES = [
    Piece("passkey", "passkey", FINDING, [4096, 8192, 16384], 4, "A number in noise", [10, 50, 90]),
    Piece("loss-16k", "perplexity", METHODS, [16384], 2, "Loss by position to 16k"),
    Piece("ablation", "perplexity", SINKS, [16384], 2, "LM-Infinite: window alone, sinks at a near distance, ceiling alone, both"),
    Piece("shift", "perplexity,passkey", SHIFTS, [16384], 2, "STRING: S over its published range", [50]),
    Piece("local", "perplexity,passkey", LOCALS, [16384], 2, "STRING: W over its published range", [50]),
    Piece("niah-4", "niah_4", FINDING, [4096, 8192, 16384], 4, "Four needles in a text", [10, 50, 90]),
    Piece("loss-64k", "perplexity", METHODS[:3], [65536], 1, "Loss by position to 64k"),
]


# ---- the text ----

def verses():
    """The text of Debian's bible-kjv, a verse a line, without their names."""
    try:
        told = subprocess.run(["bible", "-f", "lev1:1-rev22:21"], check=True, capture_output=True, text=True, timeout=120).stdout
    except FileNotFoundError:
        sys.exit("effect.py: there is no `bible`: apt-get install bible-kjv")
    lines = [re.sub(r"^[A-Za-z0-9]+:\d+ +", "", line).strip() for line in told.splitlines()]
    return "".join(line + "\n" for line in lines if line)


def text_of(folder):
    path = os.path.join(folder, "kjv.txt")
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(verses())
        os.replace(path + ".part", path)
    return path


# ---- methods ----

def known(arguments, methods):
    """Those that this program takes; the others are told."""
    kept = []
    for method in methods:
        done = subprocess.run([os.path.join(arguments.bin, "longhaul"), "plan", "--model", arguments.model, "--prompt-tokens", "64", "--method",
                               method, "--json"], capture_output=True, text=True, timeout=120)
        if done.returncode == 0:
            kept.append(method)
        else:
            print(f"effect.py: left out: {method}: {done.stderr.strip()}", file=sys.stderr)
    return kept


# ---- running ----

def words_of(arguments, piece, lengths, out):
    words = [os.path.join(arguments.bin, "longhaul"), "eval", piece.tasks, "--model", arguments.model, "--method",
             ",".join(known(arguments, piece.methods)), "--lengths", ",".join(map(str, lengths)), "--samples", str(piece.samples), "--text",
             text_of(arguments.folder), "--out", out, *(["--workers", str(arguments.workers)] if arguments.workers else [])]
    return words + (["--depths", ",".join(map(str, piece.depths))] if piece.depths else [])


def run_piece(arguments, piece, deadline):
    """True where the piece is finished."""
    lengths = arguments.lengths or piece.lengths
    out = os.path.join(arguments.folder, piece.name + ("-" + "-".join(map(str, lengths)) if arguments.lengths else ""))
    mark = os.path.join(out, "finished.json")
    if os.path.exists(mark):
        return True
    begun = time.monotonic()
    process = subprocess.Popen(words_of(arguments, piece, lengths, out), stdout=subprocess.DEVNULL)
    try:
        process.wait(max(deadline - time.monotonic(), 1))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.send_signal(signal.SIGINT)
        process.wait(600)
    told = {"piece": piece.name, "title": piece.title, "exit_code": process.returncode,
            "seconds_of_last_run": round(time.monotonic() - begun, 1)}
    print(json.dumps(told), flush=True)
    if process.returncode == 0:
        with open(mark + ".part", "w", encoding="utf-8") as file:
            json.dump(told, file)
        os.replace(mark + ".part", mark)
    return process.returncode == 0


def run(arguments):
    deadline = time.monotonic() + (arguments.seconds or 10 ** 9)
    for piece in chosen(arguments):
        if time.monotonic() > deadline or not run_piece(arguments, piece, deadline):
            print("effect.py: incomplete; the same command goes on", file=sys.stderr)
            return 75
    return 0


def chosen(arguments):
    names = [piece.name for piece in PIECES]
    for name in arguments.pieces or []:
        if name not in names:
            sys.exit(f"effect.py: there is no piece {name}: {', '.join(names)}")
    return [piece for piece in PIECES if not arguments.pieces or piece.name in arguments.pieces]


def plan(arguments):
    """Without what prompts share: an upper bound by the machine's rates."""
    whole = 0
    for piece in chosen(arguments):
        seconds = 0
        for method in known(arguments, piece.methods):
            for length in arguments.lengths or piece.lengths:
                words = [os.path.join(arguments.bin, "longhaul"), "plan", "--model", arguments.model, "--method", method, "--json"]
                told = subprocess.run([*words, "--prompt-tokens", str(length - 64)], check=True, capture_output=True, text=True,
                                      timeout=120).stdout
                seconds += json.loads(told)["plan"]["seconds"] * piece.lines() * len(piece.tasks.split(","))
        whole += seconds
        print(f"{piece.name:12s} {seconds / 3600:6.2f} h  {piece.title}")
    print(f"{'all':12s} {whole / 3600:6.2f} h")
    return 0


# ---- the report ----

def lines_of(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + ["| " + " | ".join(row) + " |" for row in rows] + [""]


def scores(folder):
    """Score by method and length, with its interval."""
    rows = lines_of(os.path.join(folder, "summary.jsonl"))
    told = []
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        lengths = sorted({row["length"] for row in own})
        by = {(row["method"], row["length"]): row for row in own}
        cell = lambda row: f"{row['score']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if row else "-"
        told += table([task] + [f"{length:,}" for length in lengths],
                      [["`" + method + "`"] + [cell(by.get((method, length))) for length in lengths]
                       for method in dict.fromkeys(row["method"] for row in own)])
    return told


def losses(folder):
    """Mean loss below the trained window, beyond it, and in the last bin."""
    rows = lines_of(os.path.join(folder, "losses.jsonl"))
    told = []
    for length in sorted({row["length"] for row in rows}):
        lines = []
        for method in dict.fromkeys(row["method"] for row in rows):
            own = [row for row in rows if row["method"] == method and row["length"] == length]
            if not own:
                continue
            bins, width = min(len(row["losses"]) for row in own), own[0]["bin"]
            means = [sum(row["losses"][i] for row in own) / len(own) for i in range(bins)]
            near = [mean for i, mean in enumerate(means) if (i + 1) * width <= TRAINED]
            far = [mean for i, mean in enumerate(means) if i * width >= TRAINED]
            mean_of = lambda list_of: f"{sum(list_of) / len(list_of):.3f}" if list_of else "-"
            lines.append(["`" + method + "`", mean_of(near), mean_of(far), f"{means[-1]:.3f}", str(len(own))])
        told += table([f"{length:,} tokens", f"to {TRAINED:,}", "beyond", "at the end", "windows"], lines)
    return told


def command_of(folder):
    with open(os.path.join(folder, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    words = [os.path.basename(word) if os.sep in word else word for word in manifest["command"]]
    host, commit = manifest["host"], str(manifest["commit"])[:12]
    return f"`longhaul {' '.join(words)}`, {manifest['date']}, {host['cpu']}, {host['cores']} cores, commit {commit}"


def report(arguments):
    os.makedirs(arguments.out, exist_ok=True)
    told = ["# What was measured", ""]
    for piece in PIECES:
        for name in sorted(os.listdir(arguments.folder)):
            folder = os.path.join(arguments.folder, name)
            if name != piece.name and not re.fullmatch(re.escape(piece.name) + r"(-\d+)+", name):
                continue
            if not os.path.exists(os.path.join(folder, "finished.json")):
                print(f"effect.py: {name} is not finished: left out", file=sys.stderr)
                continue
            told += [f"## {piece.title}", "", command_of(folder), ""] + scores(folder) + losses(folder)
            for plot in sorted(each for each in os.listdir(folder) if each.endswith(".svg")):
                shutil.copyfile(os.path.join(folder, plot), os.path.join(arguments.out, f"effect-{name}-{plot}"))
                told += [f"![{piece.title}](effect-{name}-{plot})", ""]
    with open(os.path.join(arguments.out, "effect.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(told))
    print(os.path.join(arguments.out, "effect.md"))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("run", "plan"):
        command = commands.add_parser(name)
        command.add_argument("--bin", required=True)
        command.add_argument("--model", required=True)
        command.add_argument("--pieces", nargs="+")
        command.add_argument("--lengths", nargs="+", type=int)
        if name == "run":
            command.add_argument("--folder", required=True)
            command.add_argument("--workers", type=int)
            command.add_argument("--seconds", type=float)
    command = commands.add_parser("report")
    command.add_argument("folder")
    command.add_argument("--out", required=True)
    arguments = parser.parse_args()
    return {"run": run, "plan": plan, "report": report}[arguments.command](arguments)


if __name__ == "__main__":
    sys.exit(main())
