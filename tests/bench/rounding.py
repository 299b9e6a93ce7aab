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
import os
import statistics

import ml_dtypes
import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "ranks", "data", "golden_logits.json")
NOISE = 1e-6


def rounded(x):
    return x.astype(ml_dtypes.bfloat16).astype(np.float32)


class Model:
    def __init__(self, path):
        reader = GGUFReader(path)
        value = lambda key: reader.fields["llama." + key].contents()
        self.layers = value("block_count")
        self.heads, self.kv_heads = value("attention.head_count"), value("attention.head_count_kv")
        self.epsilon = value("attention.layer_norm_rms_epsilon")
        self.head_dim = value("embedding_length") // self.heads
        half = np.arange(self.head_dim // 2)
        self.frequencies = (value("rope.freq_base") ** (-2.0 * half / self.head_dim)).astype(np.float32).astype(np.float64)
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

    def rotate(self, x, positions):
        angle = positions[:, None] * self.frequencies
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def scores(self, q, k, method, cast):
        """Scores [heads, tokens, tokens] and which of them are visible, by the definitions of the methods."""
        positions = np.arange(q.shape[1])
        distance = positions[:, None] - positions[None, :]
        product = lambda a, b: cast(a) @ np.repeat(cast(b), self.heads // self.kv_heads, 0).swapaxes(1, 2)
        keys = self.rotate(k, positions)
        result, visible = product(self.rotate(q, positions), keys), distance >= 0
        if method["name"] == "string":
            shown = positions - method["shift"] + method["local"]
            result = np.where(distance < method["shift"], result, product(self.rotate(q, shown), keys))
        if method["name"] in ("lm_infinite", "window"):
            near = distance < method["window"]
            sink = ~near & (positions[None, :] < method.get("sinks", 0))
            ceiling = np.full_like(positions, method.get("ceiling", method["window"]))
            result = np.where(near, result, product(self.rotate(q, ceiling), k))
            visible = visible & (near | sink)
        return result * (method.get("logit_scale", 1.0) / np.sqrt(self.head_dim)), visible

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
    arguments = parser.parse_args()
    model = Model(arguments.model)
    with open(GOLDEN, encoding="utf-8") as file:
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
