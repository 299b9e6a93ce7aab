#!/usr/bin/env python3
"""LongRecipe on a model of a million parameters: what docs/longrecipe.md reports.

    python3 tests/bench/longrecipe/longrecipe.py --bin build/release/bin --folder RUNS [--seeds 1 2 3] [--arms NAME ...] [--short]
    python3 tests/bench/longrecipe/report.py RUNS [--out tests/bench/results/NAME.jsonl] [--plots docs/plots]

Trains a model of bytes from scratch at a short window, extends it in several ways, and asks each of the results. May be broken off
at any time: what is finished in RUNS is not done again. --short is minutes of machinery with tiny sizes, and claims nothing."""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time

import arms
import evaluate
import texts

WAIT_SECONDS = 4 * 3600


class Seed:
    """One seed's runs, in a folder of their own."""

    def __init__(self, arguments, sizes, seed):
        self.arguments, self.sizes, self.seed = arguments, sizes, seed
        self.folder = os.path.join(arguments.folder, f"seed-{seed}")
        os.makedirs(self.folder, exist_ok=True)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def tool(self, program, *words):
        command = [os.path.join(self.arguments.bin, program), *words]
        with open(self.path("log.txt"), "a", encoding="utf-8") as log:
            print("$", *command, file=log, flush=True)
            done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=WAIT_SECONDS)
        if done.returncode != 0:
            sys.exit(f"longrecipe: {' '.join(command)} ended with {done.returncode}; see {self.path('log.txt')}")

    # ---- data ----

    def write_documents(self, name, count, length):
        """Lines of texts that fill a sample each, together with the end token."""
        path = self.path(name)
        if os.path.exists(path):
            return
        generator = random.Random(f"{self.seed} {name}")
        with open(path + ".unfinished", "w", encoding="utf-8") as file:
            for _ in range(count):
                file.write(json.dumps({"text": texts.document(generator, length - 1)}) + "\n")
        os.rename(path + ".unfinished", path)

    def write_replay(self):
        with open(self.path("replay.jsonl"), "w", encoding="utf-8") as file:
            generator = random.Random(f"{self.seed} replay")
            for _ in range(self.sizes.replay_samples):
                text = texts.document(generator, self.sizes.window - 2)
                half = len(text) // 2
                file.write(json.dumps({"prompt": text[:half], "response": text[half:]}) + "\n")

    def prepare(self):
        with open(self.path("shape.json"), "w", encoding="utf-8") as file:
            json.dump(arms.shape(self.sizes), file, indent=1)
        self.write_documents("base.jsonl", self.sizes.base_samples, self.sizes.window)
        self.write_documents("extend.jsonl", self.sizes.samples, self.sizes.target)
        self.write_replay()

    # ---- training ----

    def train(self, name, text, whole_recipe=False):
        """Returns seconds by stage, of what had to be done now or was noted before."""
        config, notes = self.path(f"{name}.yaml"), self.path(f"{name}.seconds.json")
        with open(config, "w", encoding="utf-8") as file:
            file.write(text)
        if os.path.exists(notes):
            with open(notes, encoding="utf-8") as file:
                return json.load(file)
        seconds = {}
        for stage in ("analyze", "positions", "train", "replay", "merge") if whole_recipe else ("train",):
            begin = time.monotonic()
            self.tool("longhaul", *(("recipe", stage) if whole_recipe else ("train",)), "--config", config)
            seconds[stage] = time.monotonic() - begin
        with open(notes, "w", encoding="utf-8") as file:
            json.dump(seconds, file)
        return seconds

    def stretched(self):
        """The base model with RoPE's base for the target, and nothing else changed."""
        path = self.path("base-stretched")
        shutil.copytree(self.path("base", "extend", "model"), path, dirs_exist_ok=True)
        with open(os.path.join(path, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        head_dim = self.sizes.hidden // config["num_attention_heads"]
        factor = self.sizes.target / self.sizes.window
        config["rope_theta"] = 10000.0 * (factor * factor - (factor - 1)) ** (head_dim / (head_dim - 2))
        config["max_position_embeddings"] = self.sizes.target
        with open(os.path.join(path, "config.json"), "w", encoding="utf-8") as file:
            json.dump(config, file)
        return path

    def model_of(self, arm):
        """(model, seconds by stage) of an arm, trained where it has not been."""
        base = self.path("base", "extend", "model")
        if arm.name == "untouched":
            return base, {}
        if not arm.setting:
            return self.stretched(), {}
        text = arms.arm(self.sizes, arm, self.folder, self.seed, base, self.path("full", "extend", "model"))
        seconds = self.train(arm.folder, text, arm.recipe)
        return self.path(arm.folder, arm.ends if arm.recipe else "extend", "model"), seconds

    # ---- asking ----

    def samples(self, name, length, lines, loss):
        """A file of samples of JSON lines that fill one each."""
        folder = self.path("asked", name)
        os.makedirs(folder, exist_ok=True)
        if loss == "all":
            sections = {"data": {"files": lines, "sample_tokens": length}, "positions": {"setting": "plain"}}
            stage = "extend"
        else:
            sections = {"data": {"files": lines, "field": "prompt", "sample_tokens": length,
                                 "replay": {"files": lines, "loss": loss, "sample_tokens": length}}}
            stage = "replay"
        sections |= {"model": {"path": self.path("base", "extend", "model"), "window": length}, "output": {"folder": folder}}
        config = os.path.join(folder, "asked.yaml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(arms.text_of(sections))
        self.tool("longhaul", "recipe", "positions", "--config", config)
        return os.path.join(folder, stage, "samples")

    def scored(self, model, samples):
        out = self.path("scored.jsonl")
        self.tool("longhaul-trainer", "--score", samples, "--model", model, "--out", out)
        with open(out, encoding="utf-8") as file:
            return [list(zip(line["logprob"], line["argmax"], strict=True)) for line in map(json.loads, file)]

    def asked(self, arm):
        """An arm's row of the results."""
        path = self.path(f"{arm.name}.json")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        model, seconds = self.model_of(arm)
        row = {"seed": self.seed, "arm": arm.name, "what": arm.what, "seconds": seconds, "found": {}, "perplexity": {},
               "training": self.spent(arm)}
        for length in evaluate.lengths(self.sizes):
            lines = self.path(f"questions-{length}.jsonl")
            kinds = evaluate.write_questions(lines, self.sizes, length, self.seed)
            samples = self.samples(f"questions-{length}", length, lines, "response")
            row["found"][length] = evaluate.found(kinds, list(evaluate.sample_texts(samples)), self.scored(model, samples))
            lines = self.path(f"texts-{length}.jsonl")
            evaluate.write_texts(lines, self.sizes, length, self.seed)
            samples = self.samples(f"texts-{length}", length, lines, "all")
            row["perplexity"][length] = evaluate.perplexity(self.scored(model, samples))
        with open(path, "w", encoding="utf-8") as file:
            json.dump(row, file, indent=1)
        return row

    def spent(self, arm):
        """Tokens, and FLOPs forward and back, by stage: 6 a weight and token, and 12 a layer, width and visible pair."""
        spent = {}
        for stage in ("extend", "replay") if arm.setting else ():
            losses, samples = self.path(arm.folder, stage, "losses.jsonl"), self.path(arm.folder, stage, "samples")
            if not os.path.exists(losses):
                continue
            with open(losses, encoding="utf-8") as file:
                steps = [json.loads(line) for line in file]
            length = max(len(text) for text in evaluate.sample_texts(samples)) + 1
            tokens = sum(step["tokens"] for step in steps)
            weights = arms.weights(self.sizes)
            spent[stage] = {"steps": len(steps), "tokens": tokens, "seconds": sum(step["seconds"] for step in steps),
                            "first_loss": steps[0]["loss"], "last_loss": steps[-1]["loss"],
                            "flops": tokens * (6 * weights + 12 * self.sizes.layers * self.sizes.hidden * (length + 1) / 2)}
        return spent


def tell(row):
    for length, found in row["found"].items():
        shares = "  ".join(f"{task} {evaluate.mean_found(found, task):5.1%}" for task in found)
        print(f"seed {row['seed']}  {row['arm']:12} {length:>5} tokens: {shares}  "
              f"perplexity {sum(row['perplexity'][length]) / evaluate.BUCKETS:.3f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", help="where longhaul and longhaul-trainer are")
    parser.add_argument("--folder", help="of all that is written")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--arms", nargs="+", choices=[arm.name for arm in arms.ARMS], default=[arm.name for arm in arms.ARMS])
    parser.add_argument("--short", action="store_true")
    arguments = parser.parse_args()
    if not arguments.bin or not arguments.folder:
        parser.error("--bin and --folder are needed")
    sizes = arms.SHORT if arguments.short else arms.Sizes()
    for number in arguments.seeds:
        seed = Seed(arguments, sizes, number)
        seed.prepare()
        seed.train("base", arms.base(sizes, seed.folder, number))
        for arm in arms.ARMS:
            if arm.name in arguments.arms:
                tell(json.loads(json.dumps(seed.asked(arm))))


if __name__ == "__main__":
    main()
