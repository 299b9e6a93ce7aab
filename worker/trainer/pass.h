/* One rank's way through a model with a training sample, forward and back: the loss, and the
 * gradients of all weights.
 *
 * The ranks of a transport share out the tokens of a sample by whole panels of
 * ATTENTION_SPANS_TOKENS, zigzag, and exchange the keys and values that the method shows; gradients
 * of keys go back where they came from and are added in the order of ranks. Every rank has all
 * weights, and gets the part of the gradients that its own rows give: their sum over ranks is the
 * gradient. Forward, a row's numbers are the same bits on any number of ranks.
 *
 * Query i sees key j <= i as the method shows (position of i, position of j); which keys are sinks
 * goes by index. Positions rise from token to token.
 *
 * Activations are kept layer by layer, or with `recompute` only what enters each layer: then a
 * layer is computed once more on the way back, to the same bits. Logits exist for a block of rows
 * at a time. All memory is taken when the pass is made.
 *
 * All calls but pass_logits are collective over the transport. After one that failed, the transport
 * is to be aborted and the pass destroyed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "proto/model/spec.h"
#include "proto/plan/method.h"
#include "proto/status.h"
#include "proto/train/sample_file.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/device/thread_pool.h"
#include "worker/engine/transport/transport.h"
#include "worker/trainer/parameters.h"

struct pass;

/* All but `recompute`, `bf16` and `tokens` is borrowed until pass_destroy. */
struct pass_options {
    const struct model_spec *spec;
    const struct method *method;
    struct transport *transport; /* of the ranks that share out a sample */
    struct thread_pool *pool;
    const struct kernels *kernels;
    const struct parameters *parameters;
    int64_t tokens; /* of the longest sample */
    bool recompute;
    bool bf16; /* operands of products are rounded to bf16; sums and all else are float32 */
    /* Of the GPU that computes it, which holds weights and gradients too, and takes bf16; NULL: the
     * pool computes. */
    const struct cuda_streams *streams;
};

/* RESOURCE_EXHAUSTED, with how much it would be; UNIMPLEMENTED for an architecture. */
MUST_CHECK enum status pass_create(struct pass **pass, const struct pass_options *options);

/* Accepts NULL. */
void pass_destroy(struct pass *pass);

/* Of memory that it takes on this rank. */
size_t pass_bytes(const struct pass *pass);

/* With loss = -sum of ln p(token) over the tokens that the sample counts: adds scale times its
 * derivative to gradients [parameters->floats], and this rank's part of the sum to *loss.
 * INVALID_ARGUMENT for a sample that is too long. */
MUST_CHECK enum status pass_gradient(struct pass *pass, const float *weights, float *gradients,
                                     const struct sample *sample, float scale, double *loss);

/* Forward alone. Then this rank's rows can be asked for, until the next call. */
MUST_CHECK enum status pass_forward(struct pass *pass, const float *weights,
                                    const struct sample *sample);

/* Rows of this rank, each a token of the sample in ascending order, and which one. */
int64_t pass_rows(const struct pass *pass);
int64_t pass_row_index(const struct pass *pass, int64_t row);

/* logits [count, vocab] of consecutive rows after pass_forward with the same weights. */
void pass_logits(struct pass *pass, const float *weights, int64_t row, int64_t count,
                 float *logits);
