#!/usr/bin/env python3
"""What rounding operands to bf16 may do to a log-probability: the reference values' texts and methods through a plain forward
pass in numpy that rounds what the fast kernels round (weights, activations, rotated queries and keys, values, probabilities).

    python3 -m venv /tmp/rounding && /tmp/rounding/bin/pip install numpy gguf ml_dtypes
    /tmp/rounding/bin/python tests/bench/rounding.py --model FILE --out tests/bench/results/NAME.jsonl [--runs 64] [--text chat] [--round cached]

A run rounds after its embeddings were changed by a millionth of themselves, which stands for another order of float32 sums. How far
runs differ from each other is what no order of operations can avoid. It shares no code with the product. The first line is a
manifest; each further one a text and method: of all runs the largest difference of a token, the largest rms and mean over the text,
medians, and the same of one run without any rounding, which shows that the pass itself is right."""
import argparse
import json
import math
import os
import statistics

import ml_dtypes
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

DATA = os.path.join(os.path.dirname(__file__), "..", "ranks", "data")
NOISE = 1e-6


def rounded(x):
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


def views(method, p):
    """Of tokens at the indices p: (pairs, where their queries stand, where their keys stand), by docs/methods.md."""
    name, i, j = method["name"], p[:, None], p[None, :]
    d, still = i - j, lambda position: np.full_like(p, position)
    if name == "string":
        far = d >= method["shift"]
        return [(~far, p, p), (far, p - method["shift"] + method["local"], p)]
    if name == "streaming_llm":
        full, sink = i > method["window"] + method["sinks"], j < method["sinks"]
        return [(~full | (~sink & (d <= method["window"])), p, p), (full & sink, still(method["window"] + method["sinks"]), p)]
    if name == "dca":
        s = method["chunk"] - method["local"]
        apart = i // s - j // s
        return [(apart == 0, p % s, p % s), (apart == 1, np.minimum(p % s + s, method["chunk"]), p % s),
                (apart > 1, still(method["chunk"]), p % s)]
    near = d < method.get("window", len(p))
    if name in ("lm_infinite", "window"):
        sink = ~near & (j < method.get("sinks", 0))
        return [(near, p, p), (sink, still(method.get("ceiling", method["window"])), still(0))]
    if name == "rerope":
        return [(near, p, p), (~near, still(method["window"]), still(0))]
    if name == "leaky_rerope":
        w, k = method["window"], method["factor"]
        return [(near, p, p), (~near, (p + w * (k - 1)) / k, p / k)]
    if name == "self_extend":
        w, g = method["window"], method["group"]
        return [(near, p, p), (~near, p // g + w - w // g, p // g)]
    return [(near, p, p)]


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        value = lambda key: reader.fields["llama." + key].contents()
        self.layers = value("block_count")
        self.heads, self.kv_heads = value("attention.head_count"), value("attention.head_count_kv")
        self.epsilon = value("attention.layer_norm_rms_epsilon")
        self.head_dim = value("embedding_length") // self.heads
        half = np.arange(self.head_dim // 2)
        self.base, self.trained = float(value("rope.freq_base")), int(value("context_length"))
        self.frequencies = (self.base ** (-2.0 * half / self.head_dim)).astype(np.float32).astype(np.float64)
        self.exact = {}
        for tensor in reader.tensors:
            array = dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape([int(n) for n in reversed(tensor.shape)])
            heads = {"attn_q": self.heads, "attn_k": self.kv_heads}.get(tensor.name.split(".")[-2])
            if heads:  # the file's interleaved apart, as halves
                out, inner = array.shape
                array = array.reshape(heads, out // heads // 2, 2, inner).swapaxes(1, 2).reshape(out, inner)
            self.exact[tensor.name] = np.ascontiguousarray(array)
        self.exact.setdefault("output.weight", self.exact["token_embd.weight"])
        self.bf16 = {name: rounded(array) if array.ndim == 2 else array for name, array in self.exact.items()}

    def norm(self, x, weight):
        y = x.astype(np.float64)
        return (y / np.sqrt((y * y).mean(-1, keepdims=True) + self.epsilon)).astype(np.float32) * weight

    def turns(self, method):
        """Frequencies and the factor on queries and keys: the model's own, or those of the method."""
        asked, width = method.get("frequencies"), self.head_dim
        if not asked:
            return self.frequencies, 1.0
        s, pairs = float(asked["factor"]), np.arange(width // 2)
        base = self.base * (s ** (width / (width - 2)) if asked["kind"] == "ntk" else 1)
        frequencies, factor = base ** (-2.0 * pairs / width), 1.0
        if asked["kind"] == "linear":
            frequencies = frequencies / s
        if asked["kind"] == "yarn":
            at = lambda turns: width * math.log(asked.get("original", self.trained) / (turns * 2 * math.pi)) / (2 * math.log(base))
            low, high = max(math.floor(at(32)), 0), min(math.ceil(at(1)), width - 1)
            ramp = np.clip((pairs - low) / max(high - low, 0.001), 0, 1)
            frequencies = frequencies * (1 - ramp) + frequencies / s * ramp
            factor = asked.get("attention", 0.1 * math.log(s) + 1)
        return frequencies.astype(np.float32).astype(np.float64), factor

    def rotate(self, x, positions, turns):
        frequencies, factor = turns
        angle = positions[:, None] * frequencies
        cos, sin = (np.cos(angle) * factor).astype(np.float32), (np.sin(angle) * factor).astype(np.float32)
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def scores(self, q, k, method, cast):
        """Scores [heads, tokens, tokens] and which of them are visible, by the definitions of the methods."""
        positions, turns = np.arange(q.shape[1]), self.turns(method)
        if "logn" in method:
            q = q * np.maximum(np.log(positions + 1.0) / math.log(method["logn"]), 1)[:, None].astype(np.float32)
        product = lambda a, b: cast(a) @ np.repeat(cast(b), self.heads // self.kv_heads, 0).swapaxes(1, 2)
        result, visible = 0, np.zeros((len(positions), len(positions)), bool)
        for part, queries, keys in views(method, positions):
            # An unrotated key has no factor from rotation of its own: position 0 gives it.
            score = product(self.rotate(q, queries, turns), self.rotate(k, keys, turns))
            result, visible = np.where(part, score, result), visible | part
        causal = positions[:, None] >= positions[None, :]
        return result * (method.get("logit_scale", 1.0) / np.sqrt(self.head_dim)), visible & causal

    def logprobs(self, ids, method, rounding, seed):
        """Natural-log probability of ids[t + 1] after ids[0..t]. Rounding is of nothing, of what is cached and its queries, or of
        all operands."""
        same = lambda x: x
        cast = rounded if rounding == "all" else same
        cast_cached = rounded if rounding != "nothing" else same
        weights = self.bf16 if rounding == "all" else self.exact
        tokens = len(ids)
        multiply = lambda x, name: cast(x) @ weights[name].T
        split = lambda x, heads: x.reshape(tokens, heads, self.head_dim).swapaxes(0, 1)
        x = self.exact["token_embd.weight"][ids]
        x = (x * (1 + NOISE * np.random.default_rng(seed).standard_normal(x.shape))).astype(np.float32)
        for layer in range(self.layers):
            name = lambda part: f"blk.{layer}.{part}.weight"
            h = self.norm(x, self.exact[name("attn_norm")])
            q, k, v = (split(multiply(h, name("attn_" + part)), heads)
                       for part, heads in (("q", self.heads), ("k", self.kv_heads), ("v", self.kv_heads)))
            scores, visible = self.scores(q, k, method, cast_cached)
            scores = np.where(visible, scores, -np.inf)
            weight = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = cast(weight) @ np.repeat(cast_cached(v), self.heads // self.kv_heads, 0) / weight.sum(-1, keepdims=True)
            x = x + multiply(mixed.swapaxes(0, 1).reshape(tokens, -1).astype(np.float32), name("attn_output"))
            h = self.norm(x, self.exact[name("ffn_norm")])
            gate = multiply(h, name("ffn_gate"))
            x = x + multiply(gate / (1 + np.exp(-gate)) * multiply(h, name("ffn_up")), name("ffn_down"))
        logits = multiply(self.norm(x, self.exact["output_norm.weight"]), "output.weight").astype(np.float64)
        logits -= logits.max(-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        return logits[np.arange(tokens - 1), ids[1:]]


def distances(model, ids, method, truth, rounding, runs):
    """(largest difference of a token, rms, mean) of every run."""
    apart = []
    for seed in range(runs):
        off = model.logprobs(ids, method, rounding, seed) - truth
        apart.append((float(abs(off).max()), float(np.sqrt((off * off).mean())), abs(float(off.mean()))))
    return apart


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--round", choices=["all", "cached"], default="all", help="all operands, or queries, keys and values alone")
    parser.add_argument("--text", nargs="+", help="of the reference values; all of them")
    parser.add_argument("--values", default="golden_logits.json", help="golden_logits.json or golden_methods.json")
    arguments = parser.parse_args()
    model = Model(arguments.model)
    with open(os.path.join(DATA, arguments.values), encoding="utf-8") as file:
        texts = json.load(file)
    with open(arguments.out, "w", encoding="utf-8") as out:
        print(json.dumps({"manifest": {"command": "tests/bench/rounding.py", "model": os.path.basename(arguments.model),
                                       "runs": arguments.runs, "round": arguments.round, "noise": NOISE}}), file=out, flush=True)
        for text in texts:
            if arguments.text and text["name"] not in arguments.text:
                continue
            for result in text["results"]:
                ids, truth = np.array(text["ids"]), np.array(result["logprobs"])
                exact = distances(model, ids, result["method"], truth, "nothing", 1)[0]
                runs = distances(model, ids, result["method"], truth, arguments.round, arguments.runs)
                line = {"text": text["name"], "method": result["method"], "token_most": max(run[0] for run in runs),
                        "rms_most": max(run[1] for run in runs),
                        "mean_most": max(run[2] for run in runs), "token_median": statistics.median(run[0] for run in runs),
                        "rms_median": statistics.median(run[1] for run in runs), "without_rounding_token": exact[0]}
                print(json.dumps(line), file=out, flush=True)
                print(f"{text['name']:9} {json.dumps(result['method']):75} token {line['token_median']:.3f} to "
                      f"{line['token_most']:.3f}, rms {line['rms_median']:.4f} to {line['rms_most']:.4f}", flush=True)


main()
