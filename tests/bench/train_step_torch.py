#!/usr/bin/env python3
"""One training step after the other in PyTorch: what train_step.py holds longhaul's against. Forward, backward, clipping and
AdamW of a Llama-shaped model in float32, by what PyTorch has for each: scaled_dot_product_attention, rms_norm, fused AdamW.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 numpy
    venv/bin/python tests/bench/train_step_torch.py --threads 2 --steps 5

Without --steps it makes a step for each line that it reads from standard input, so that another program can take turns. The
first line of output is a manifest; each further one is a step: seconds of its parts and their sum, loss, norm of gradients.
--shape takes a config.json; the default has 124 M parameters."""
import argparse
import json
import os
import sys
import time

SHAPE = {"hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12, "num_attention_heads": 12,
         "num_key_value_heads": 12, "vocab_size": 50257, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--shape", help="a config.json of Llama form")
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--steps", type=int, help="without it: one for each line of standard input")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compile", action="store_true", help="torch.compile; needs a C++ compiler, and a longer first step")
    return parser.parse_args()


ARGUMENTS = parse()
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):  # before torch is loaded
    os.environ[name] = str(ARGUMENTS.threads)

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        width, inner = shape["hidden_size"], shape["intermediate_size"]
        self.heads, self.kv_heads = shape["num_attention_heads"], shape["num_key_value_heads"]
        self.head_dim = shape.get("head_dim") or width // self.heads
        self.eps = shape["rms_norm_eps"]
        self.attention_norm, self.ffn_norm = nn.Parameter(torch.ones(width)), nn.Parameter(torch.ones(width))
        self.q = nn.Linear(width, self.heads * self.head_dim, bias=False)
        self.k = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.v = nn.Linear(width, self.kv_heads * self.head_dim, bias=False)
        self.output = nn.Linear(self.heads * self.head_dim, width, bias=False)
        self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def heads_of(self, rows, count):
        """[heads, tokens, head_dim]"""
        return rows.view(rows.shape[0], count, self.head_dim).transpose(0, 1)

    def forward(self, x, cos, sin):
        rows = functional.rms_norm(x, x.shape[-1:], self.attention_norm, self.eps)
        q, k = rotate(self.heads_of(self.q(rows), self.heads), cos, sin), rotate(self.heads_of(self.k(rows), self.kv_heads), cos, sin)
        v = self.heads_of(self.v(rows), self.kv_heads)
        seen = functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True, enable_gqa=self.heads != self.kv_heads)
        x = x + self.output(seen[0].transpose(0, 1).reshape(x.shape[0], -1))
        rows = functional.rms_norm(x, x.shape[-1:], self.ffn_norm, self.eps)
        return x + self.down(functional.silu(self.gate(rows)) * self.up(rows))


def rotate(x, cos, sin):
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Model(nn.Module):
    def __init__(self, shape):
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(shape["vocab_size"], shape["hidden_size"])
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["num_hidden_layers"]))
        self.norm = nn.Parameter(torch.ones(shape["hidden_size"]))
        self.output = nn.Linear(shape["hidden_size"], shape["vocab_size"], bias=False)
        if shape.get("tie_word_embeddings", False):
            self.output.weight = self.embedding.weight
        for value in self.parameters():
            if value.dim() == 2:
                nn.init.normal_(value, std=0.02)

    def forward(self, ids):
        half = self.layers[0].head_dim // 2
        angles = torch.arange(len(ids))[:, None] * self.shape["rope_theta"] ** (-torch.arange(half) / half)
        cos, sin = angles.cos(), angles.sin()
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, cos, sin)
        x = functional.rms_norm(x, x.shape[-1:], self.norm, self.shape["rms_norm_eps"])
        return functional.cross_entropy(self.output(x[:-1]), ids[1:])


def step(model, forward, optimiser, ids):
    times = [time.perf_counter()]
    loss = forward(ids)
    times.append(time.perf_counter())
    loss.backward()
    times.append(time.perf_counter())
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    optimiser.zero_grad(set_to_none=False)
    times.append(time.perf_counter())
    forward_s, backward_s, update_s = (b - a for a, b in zip(times, times[1:]))
    return {"seconds": times[-1] - times[0], "forward": forward_s, "backward": backward_s, "update": update_s, "loss": loss.item(),
            "grad_norm": norm.item()}


def turns():
    if ARGUMENTS.steps is not None:
        yield from range(ARGUMENTS.steps)
    else:
        yield from (number for number, _ in enumerate(sys.stdin))


def main():
    torch.set_num_threads(ARGUMENTS.threads)
    torch.manual_seed(ARGUMENTS.seed)
    torch.set_float32_matmul_precision("highest")
    shape = SHAPE
    if ARGUMENTS.shape:
        with open(ARGUMENTS.shape, encoding="utf-8") as file:
            shape = json.load(file)
    model = Model(shape)
    forward = torch.compile(model) if ARGUMENTS.compile else model
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    print(json.dumps({"engine": "torch", "version": torch.__version__, "threads": torch.get_num_threads(), "tokens": ARGUMENTS.tokens,
                      "parameters": sum(value.numel() for value in model.parameters()), "compiled": ARGUMENTS.compile,
                      "cpu_capability": torch.backends.cpu.get_cpu_capability()}), flush=True)
    for number in turns():
        ids = torch.randint(shape["vocab_size"], (ARGUMENTS.tokens,))
        print(json.dumps({"step": number + 1} | step(model, forward, optimiser, ids)), flush=True)


if __name__ == "__main__":
    main()
