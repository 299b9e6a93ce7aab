/* A case of attention (tests/kernels/attention_case.h) on a GPU: its operands in the GPU's layouts,
 * calls of the kernels on it, and what came out, put where the case's truth can be compared. The
 * case is the second of two KV heads; the first holds other numbers. */
#pragma once

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/kernels/attention_case.h"

struct attention_on_gpu {
    struct attention_case *c;
    const struct kernels_cuda *kernels;
    enum dtype operand;
    struct regimes regimes;
    int heads;
    struct gpu_memory queries, records;
    struct gpu_memory acc, max, sum, out;
};

/* Random operands, rounded to `operand`, into the case and onto the GPU. */
struct attention_on_gpu attention_on_gpu_create(const struct kernels_cuda *kernels,
                                                struct attention_case *c, enum dtype operand,
                                                struct random *random, float spread);
void attention_on_gpu_destroy(struct attention_on_gpu *on);

/* After the case's operands were changed. */
void attention_on_gpu_upload(struct attention_on_gpu *on);

struct attention_on_gpu_call {
    struct attention_extent extents[ATTENTION_EXTENTS_MAX];
    int extent_count;
    struct attention_span spans[ATTENTION_SPANS_MAX];
    int span_count;
    bool first, last;
};

/* Keys [first, end) of the case, for all spans. */
struct attention_extent attention_on_gpu_extent(const struct attention_on_gpu *on, int64_t first,
                                                int64_t end);
struct attention_on_gpu_call attention_on_gpu_whole(const struct attention_on_gpu *on);

/* Where a call is the first, outputs are poisoned before it. */
void attention_on_gpu_prefill(struct attention_on_gpu *on,
                              const struct attention_on_gpu_call *call);

/* All rows at once, the keys in `splits` pieces. */
void attention_on_gpu_decode(struct attention_on_gpu *on, int splits);

/* The state that the calls left. */
void attention_on_gpu_state(const struct attention_on_gpu *on, struct attention_state *state);

/* Compares the finished rows of a last call with a state. */
void attention_on_gpu_expect_finished(const struct attention_on_gpu *on,
                                      const struct attention_state *state);
