#!/usr/bin/env python3
"""Many requests on one worker group: answers at once against one after another, answers beside a long prompt, and a question
over a document that was read before.

    /usr/bin/python3 tests/bench/many_requests.py --bin build/release/bin --model FILE --text deploy/genesis.txt \\
        --kernels avx512_bf16 avx2 --out tests/bench/results/NAME.jsonl [--part together beside resident]

One worker has all cores that the process may use. Parts:
  together   16 answers of 64 tokens to short prompts, at once and one after another, in turn, for each of --kernels: tokens/s by the
             clock, and the ratio of every pair
  beside     a prompt of --tokens tokens while 20 clients ask for one short answer after another: the worst gap between two of an
             answer's tokens; the prompt's mean stage, by the seconds that its worker computed; and its longest, as its progress shows it
             (what came between two stages is in it)
  resident   a document of --tokens tokens with a question, then another question: from asking to the first token. The second reads what
             is not resident; every sample has a document of its own
The first line is a manifest; each further one is a part with every sample. Needs Debian's python3-grpcio and protoc."""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time

AT_ONCE, ANSWER_TOKENS, BESIDE_CLIENTS, BESIDE_TOKENS = 16, 64, 20, 32
PARTS = ["together", "beside", "resident"]
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", required=True, help="UTF-8 prose, taken again and again")
    parser.add_argument("--kernels", nargs="+", default=["auto"])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--pairs", type=int, default=5, help="of `together`")
    parser.add_argument("--samples", type=int, default=3, help="of `resident`")
    parser.add_argument("--tokens", type=int, default=32768)
    parser.add_argument("--method", default="string", help="of the long prompts")
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def make_stubs(folder):
    folder = os.path.join(folder, "stubs")  # the worker's secret lies beside it, in a folder "longhaul" of its own
    os.mkdir(folder)
    subprocess.run(["protoc", "-I", os.path.join(SOURCE, "proto"), "--python_out", folder, "longhaul/v1/inference.proto"], check=True)
    sys.path.insert(0, folder)


class Cluster:
    """A coordinator with one worker of its own."""

    def __init__(self, arguments, kernels, folder):
        import grpc
        from longhaul.v1 import inference_pb2
        self.pb, self.arguments = inference_pb2, arguments
        ready = os.path.join(folder, "ready-%d" % time.monotonic_ns())
        with open(ready + ".log", "wb") as log:
            self.process = subprocess.Popen(
                [os.path.join(arguments.bin, "longhaul-coordinator"), "--launch", "--workers=1", "--transport=loopback",
                 "--model", arguments.model, "--listen=127.0.0.1:0", "--ready-file", ready, "--kernels", kernels,
                 "--draft=none",  # guessed tokens have a bench of their own
                 "--context=%d" % (arguments.tokens + arguments.tokens // 8 + 512)], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, XDG_RUNTIME_DIR=folder))
        while not os.path.exists(ready):
            if self.process.poll() is not None:
                raise SystemExit(open(ready + ".log", encoding="utf-8").read())
            time.sleep(0.02)
        with open(ready, encoding="utf-8") as file:
            address = file.read().split()[0]
        self.channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self.call = self.channel.unary_stream("/longhaul.v1.Inference/Generate",
                                              request_serializer=inference_pb2.GenerateRequest.SerializeToString,
                                              response_deserializer=inference_pb2.GenerateResponse.FromString)

    def ask(self, text, max_tokens, method=None):
        """Yields (seconds since it was asked, event)."""
        pb = self.pb
        request = pb.GenerateRequest(prompt=pb.Prompt(text=text, raw=True), max_tokens=max_tokens)
        if method:
            request.options.method.spelling = method
        begun = time.monotonic()
        for event in self.call(request, timeout=7200):
            yield time.monotonic() - begun, event

    def close(self):
        self.channel.close()
        self.process.terminate()
        self.process.wait(60)


def in_threads(count, function):
    threads = [threading.Thread(target=function, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


# ---- together ----

def short_prompt(text, n):
    return " ".join(text.split()[8 * n:8 * n + 8])


def together(cluster, text, at_once):
    """Tokens a second of AT_ONCE answers."""
    tokens = [0] * AT_ONCE

    def read(n):
        for _, event in cluster.ask(short_prompt(text, n), ANSWER_TOKENS):
            if event.HasField("finished"):
                tokens[n] = event.finished.usage.completion_tokens
    begun = time.monotonic()
    if at_once:
        in_threads(AT_ONCE, read)
    else:
        for n in range(AT_ONCE):
            read(n)
    return sum(tokens) / (time.monotonic() - begun)


def measure_together(arguments, kernels, folder, text):
    cluster = Cluster(arguments, kernels, folder)
    together(cluster, text, True)  # what the first requests touch is not measured
    pairs = []
    for _ in range(arguments.pairs):
        one = together(cluster, text, False)
        pairs.append({"one_after_another": one, "at_once": together(cluster, text, True)})
        print("%s: %.1f tokens/s one after another, %.1f at once" % (kernels, one, pairs[-1]["at_once"]), flush=True)
    cluster.close()
    ratios = [pair["at_once"] / pair["one_after_another"] for pair in pairs]
    return {"part": "together", "kernels": kernels, "answers": AT_ONCE, "answer_tokens": ANSWER_TOKENS,
            "ratio_median": statistics.median(ratios), "ratio_least": min(ratios), "pairs": pairs}


# ---- beside a long prompt ----

def long_text(arguments, cluster, text, first=""):
    """About so many tokens, by what a piece of the text has."""
    piece = text[:20000]
    pieces = cluster.channel.unary_unary("/longhaul.v1.Inference/Tokenize",
                                         request_serializer=cluster.pb.TokenizeRequest.SerializeToString,
                                         response_deserializer=cluster.pb.TokenizeResponse.FromString)
    tokens = len(pieces(cluster.pb.TokenizeRequest(text=piece), timeout=60).token_ids)
    characters = int(0.995 * arguments.tokens * len(piece) / tokens)
    return first + (text * (characters // len(text) + 1))[:characters]


def stage_ends(progress, stage_tokens, total):
    """When each stage ended, between the reports of progress around it."""
    ends, at = [], 0
    for stage in range(stage_tokens, total + stage_tokens, stage_tokens):
        target = min(stage, total)
        while progress[at][1] < target:
            at += 1
        (t0, done0), (t1, done1) = progress[at - 1], progress[at]
        ends.append(t0 + (t1 - t0) * (target - done0) / (done1 - done0))
    return ends


def measure_beside(arguments, kernels, folder, text):
    cluster = Cluster(arguments, kernels, folder)
    prompt, reading, progress, gaps, plan = long_text(arguments, cluster, text), threading.Event(), [(0.0, 0)], [], {}
    reading.set()

    def answer(n):
        answers = 0
        while reading.is_set():
            before = None
            for _, event in cluster.ask(short_prompt(text, n), BESIDE_TOKENS):
                now = time.monotonic()
                if event.HasField("tokens"):
                    if before and reading.is_set():
                        gaps.append(now - before)
                    before = now
            answers += 1

    def read(_):
        for seconds, event in cluster.ask(prompt, 1, arguments.method):
            if event.HasField("planned"):
                plan.update(prompt_tokens=event.planned.prompt_tokens, stage_tokens=event.planned.stage_tokens)
            if event.HasField("finished"):
                plan["computed"] = sum(part.seconds for part in event.finished.ranks[0].parts if part.name in ("rows", "attend", "head"))
            if event.HasField("progress") and event.progress.tokens_done > progress[-1][1]:
                progress.append((seconds, event.progress.tokens_done))
        reading.clear()
    in_threads(BESIDE_CLIENTS + 1, lambda n: read(n) if n == BESIDE_CLIENTS else answer(n))
    cluster.close()
    total = plan["prompt_tokens"]
    ends = stage_ends(progress, plan["stage_tokens"] or total, total)
    longest = max(end - begin for begin, end in zip([0.0, *ends], ends))
    mean = plan.pop("computed") / len(ends)
    result = {"part": "beside", "kernels": kernels, "method": arguments.method, **plan, "clients": BESIDE_CLIENTS,
              "stages": len(ends), "prompt_seconds": ends[-1], "mean_stage_seconds": mean, "longest_stage_seconds": longest,
              "worst_gap_seconds": max(gaps), "worst_gap_mean_stages": max(gaps) / mean,
              "gap_median_seconds": statistics.median(gaps), "gaps": len(gaps)}
    print(json.dumps(result), flush=True)
    return result


# ---- over a resident document ----

def first_token(cluster, prompt, method):
    """Seconds to the first token, and the usage."""
    first = None
    for seconds, event in cluster.ask(prompt, 4, method):
        if event.HasField("tokens") and first is None:
            first = seconds
        if event.HasField("finished"):
            return first, event.finished.usage
    raise SystemExit("an answer without an end")


def measure_resident(arguments, kernels, folder, text):
    cluster = Cluster(arguments, kernels, folder)
    samples = []
    for n in range(arguments.samples):
        document = long_text(arguments, cluster, text, "Copy %d. " % n)
        cold, usage = first_token(cluster, document + "\n\nWho is named first?", arguments.method)
        warm, again = first_token(cluster, document + "\n\nWhat was made on the third day?", arguments.method)
        samples.append({"prompt_tokens": usage.prompt_tokens, "first_seconds": cold, "second_seconds": warm,
                        "second_cached_tokens": again.cached_tokens, "second_prefilled_tokens": again.prefilled_tokens})
        print("%s: first token after %.2f s, over the resident document after %.3f s" % (kernels, cold, warm), flush=True)
    cluster.close()
    ratios = [sample["first_seconds"] / sample["second_seconds"] for sample in samples]
    return {"part": "resident", "kernels": kernels, "method": arguments.method, "ratio_median": statistics.median(ratios),
            "ratio_least": min(ratios), "samples": samples}


def manifest(arguments):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), "?")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    return {"command": "tests/bench/many_requests.py", "commit": commit, "cpu": cpu, "cores": len(os.sched_getaffinity(0)),
            "system": platform.platform(), "model": os.path.basename(arguments.model), "load_average": os.getloadavg()[0]}


def main():
    arguments = parse()
    measures = {"together": measure_together, "beside": measure_beside, "resident": measure_resident}
    with open(arguments.text, encoding="utf-8") as file:
        text = file.read()
    with open(arguments.out, "w", encoding="utf-8") as out, tempfile.TemporaryDirectory() as folder:
        make_stubs(folder)
        print(json.dumps({"manifest": manifest(arguments)}), file=out, flush=True)
        for part in arguments.part:
            for kernels in arguments.kernels if part == "together" else arguments.kernels[:1]:
                print(json.dumps(measures[part](arguments, kernels, folder, text)), file=out, flush=True)


main()
