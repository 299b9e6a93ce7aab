/* What a step of training takes, before the first one: memory of a rank, arithmetic of all ranks,
 * what travels, and seconds. Pure.
 *
 * Arithmetic is counted in products, 2 operations each, of float32 or bf16 operands: forward 2 a
 * weight and token, backward 4, and 2 more where layers are computed again. Attention is that of
 * every pair that a causal mask shows, 4 head_dim a pair and head forward and 10 backward; a method
 * that shows fewer takes less. Norms, rotations and the optimiser's arithmetic are left out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/mesh.h"
#include "proto/plan/model_shape.h"

struct train_plan_request {
    const struct model_shape *shape;
    int64_t parameters; /* float32s of all weights */
    struct mesh mesh;
    int64_t batch;           /* samples a step */
    int64_t sample_tokens;   /* of the longest */
    bool recompute;          /* a layer's activations, in the backward pass */
    int64_t optimiser_bytes; /* of a rank, as the optimiser says */
    int64_t pass_bytes;      /* of a rank, as the pass says */
    double product_rate;     /* operations a second of the slowest rank, measured */
};

struct train_plan {
    int64_t weights_bytes, gradients_bytes; /* of a rank */
    int64_t rank_bytes;                     /* in all */
    int64_t exchange_bytes; /* of gradients and weights: what a rank sends in a step, at most */
    double products_flops, attention_flops; /* of all ranks, a step */
    double
        step_seconds; /* of arithmetic alone, were products all that is done: a step takes longer */
};

void train_plan_make(struct train_plan *plan, const struct train_plan_request *request);
