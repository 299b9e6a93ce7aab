#!/usr/bin/python3
"""sdpa_bench.py [TOKENS ...]: torch's own causal attention beside attention_cuda_bench, on the same GPU: cuDNN and flash,
bf16, 32 query heads on 8 KV heads, head_dim 64 and 128; and a large matrix product, which is the ceiling. The same JSON
lines. Without torch or a GPU it says so and returns 77."""
import json
import statistics
import sys

try:
    import torch
except ImportError:
    torch = None

HEADS, KV_HEADS, SETS = 32, 8, 2


def timed(call, seconds):
    """Milliseconds of each call, by events; two calls warm up."""
    times = []
    for repeat in range(202):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        call(repeat)
        end.record()
        end.synchronize()
        if repeat >= 2:
            times.append(start.elapsed_time(end))
        if len(times) >= 3 and sum(times) > seconds * 1e3:
            break
    return times


def line(times, operations, **facts):
    median = statistics.median(times)
    print(json.dumps({**facts, "median_ms": round(median, 4), "least_ms": round(min(times), 4), "most_ms": round(max(times), 4),
                      "repeats": len(times), "tflops": round(operations / median * 1e-9, 1)}), flush=True)


def attention(backend, tokens, head_dim):
    def normal(heads):
        return [torch.randn(1, heads, tokens, head_dim, device="cuda", dtype=torch.bfloat16) for _ in range(SETS)]

    queries, keys, values = normal(HEADS), normal(KV_HEADS), normal(KV_HEADS)

    def call(repeat):
        s = repeat % SETS
        torch.nn.functional.scaled_dot_product_attention(queries[s], keys[s], values[s], is_causal=True, enable_gqa=True)

    facts = {"bench": f"torch_{backend.name.lower()}", "method": "rope", "head_dim": head_dim, "tokens": tokens, "heads": HEADS,
             "kv_heads": KV_HEADS, "dtype": "bf16"}
    try:
        with torch.nn.attention.sdpa_kernel(backend):
            line(timed(call, 0.5), 4 * head_dim * HEADS * tokens * (tokens + 1) / 2, **facts)
    except RuntimeError as error:
        print(json.dumps({**facts, "error": str(error).splitlines()[0]}), flush=True)


def main():
    if torch is None or not torch.cuda.is_available():
        print("no torch with a GPU: nothing was run")
        return 77
    backends = torch.nn.attention.SDPBackend
    print(json.dumps({"bench": "versions", "torch": torch.__version__, "cudnn": torch.backends.cudnn.version(),
                      "device": torch.cuda.get_device_name()}))
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    line(timed(lambda repeat: a @ b if repeat % 2 else b @ a, 0.5), 2 * 8192**3, bench="torch_matmul", size=8192)
    for tokens in [int(argument) for argument in sys.argv[1:]] or [8192, 32768, 131072]:
        for head_dim in (64, 128):
            for backend in (backends.CUDNN_ATTENTION, backends.FLASH_ATTENTION):
                attention(backend, tokens, head_dim)
    return 0


if __name__ == "__main__":
    sys.exit(main())
