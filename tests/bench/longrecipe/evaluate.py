"""What a model of the experiment can do: answers found by length and depth, strings said again, and the likelihood of running text
by position. A document is asked in one pass: an answer counts as found where each of its tokens is the likeliest one."""
import json
import math
import random
import statistics
import struct

import texts

DEPTHS = (0.05, 0.25, 0.5, 0.75, 0.95)
TASKS = {  # name: (prompt, response) of a generator, a length and a depth
    "one key": lambda generator, length, depth: texts.asked_key(generator, length, depth, 1),
    "several keys": lambda generator, length, depth: texts.asked_key(generator, length, depth, 4),
    "copying": texts.asked_string,
}
BUCKETS = 8  # of a text's positions


def lengths(sizes):
    return [length for length in (sizes.window, 2 * sizes.window, 4 * sizes.window) if length <= sizes.target]


def write_questions(path, sizes, length, seed):
    """A line a document, each of which fills a sample with the end token; and what each text is of."""
    generator = random.Random(f"{seed} {length}")
    kinds = {}
    with open(path, "w", encoding="utf-8") as file:
        for task, make in TASKS.items():
            for depth in DEPTHS:
                for _ in range(sizes.asked):
                    prompt, response = make(generator, length - 1, depth)
                    file.write(json.dumps({"prompt": prompt, "response": response}) + "\n")
                    kinds[f"{prompt}\n{response}"] = (task, depth, len(response))
    return kinds


def write_texts(path, sizes, length, seed):
    generator = random.Random(f"{seed} text {length}")
    with open(path, "w", encoding="utf-8") as file:
        for _ in range(2 * sizes.asked):
            file.write(json.dumps({"text": texts.text_document(generator, length - 1)}) + "\n")


def sample_texts(path):
    """The texts of a file of samples (docs/training.md), without the end token; the id of a byte is its value."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"LHSAMPLE"
    index, records = struct.unpack_from("<QQ", data, len(data) - 48)
    for record in range(records):
        offset, count, _ = struct.unpack_from("<QQQ", data, index + 24 * record)
        ids = struct.unpack_from(f"<{count}i", data, offset)
        yield bytes(i for i in ids if i < 256).decode()


def found(kinds, asked, scored):
    """{task: {depth: share}} of documents whose response was the likeliest throughout. `asked`: the texts of the samples, `scored`
    their counted tokens, each (logprob, whether it is the likeliest)."""
    shares = {}
    for text, tokens in zip(asked, scored, strict=True):
        task, depth, answer = kinds[text]
        hit = all(best for _, best in tokens[:answer])
        shares.setdefault(task, {}).setdefault(depth, []).append(hit)
    return {task: {depth: statistics.mean(hits) for depth, hits in by_depth.items()} for task, by_depth in shares.items()}


def perplexity(scored):
    """[BUCKETS] of texts, by position."""
    sums, counts = [0.0] * BUCKETS, [0] * BUCKETS
    for tokens in scored:
        for place, (logprob, _) in enumerate(tokens):
            bucket = place * BUCKETS // len(tokens)
            sums[bucket] -= logprob
            counts[bucket] += 1
    return [math.exp(total / count) for total, count in zip(sums, counts)]


def mean_found(results, task):
    """Over depths, of what `found` gave."""
    return statistics.mean(results[task].values())
