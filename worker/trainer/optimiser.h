/* AdamW whose state is shared out: each rank keeps the moments of its own slice of the parameters.
 *
 * A step adds up the ranks' gradients in the order of ranks, so that each has the sum for its
 * slice, scales it where the norm of all of them is too large, updates its slice of the weights
 * (adamw.h), and gathers the others' slices. So the weights of all ranks stay equal bit for bit,
 * and runs on the same ranks have the same bits whatever their threads.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/device/thread_pool.h"
#include "worker/engine/transport/transport.h"

struct optimiser_settings {
    float beta1, beta2, epsilon;
    float weight_decay; /* of matrices; vectors (norms, biases) do not decay */
    double clip;        /* largest norm of all gradients; 0: any */
};

/* Parameters [first, end) are matrices. */
struct optimiser_matrix {
    size_t first, end;
};

struct optimiser_options {
    struct transport *transport; /* of all ranks that share the parameters out */
    struct thread_pool *pool;
    const struct kernels *kernels;
    size_t count;                            /* of parameters */
    const struct optimiser_matrix *matrices; /* [matrices_count], ascending; copied */
    size_t matrices_count;
    struct optimiser_settings settings;
    /* Of the GPU that computes it, which holds weights and gradients too; NULL: the pool does. */
    const struct cuda_streams *streams;
};

/* What a rank keeps: moments and variances of its slice, in the order of the parameters. */
struct optimiser_state {
    size_t first, end;        /* of the parameters */
    float *moment, *variance; /* [end - first] */
};

struct optimiser;

/* For tests: rank `rank`'s slice of `count` parameters, in whole lines of 64 bytes but for the
 * last: it begins at optimiser_first(count, rank, size) and ends where the next one begins. */
size_t optimiser_first(size_t count, int rank, int size);

/* Bytes that optimiser_create allocates on a rank, but for some of each matrix. */
size_t optimiser_bytes(size_t count, int size);

/* The moments are zero. */
MUST_CHECK enum status optimiser_create(struct optimiser **optimiser,
                                        const struct optimiser_options *options);
/* Accepts NULL. */
void optimiser_destroy(struct optimiser *optimiser);

/* To be saved, after optimiser_fetch, or filled with what was, before optimiser_send: on a GPU it
 * is a copy. */
struct optimiser_state optimiser_state(struct optimiser *optimiser);
MUST_CHECK enum status optimiser_fetch(struct optimiser *optimiser);
MUST_CHECK enum status optimiser_send(struct optimiser *optimiser);

/* Step `step`, from 1, which all ranks take: weights [count], alike on all ranks before and after;
 * gradients [count], each rank's part of the sum, of no more use after it. `norm`: of the sum,
 * before it is scaled. OUT_OF_RANGE where that is no finite number, and the weights are as they
 * were. */
MUST_CHECK enum status optimiser_step(struct optimiser *optimiser, float *weights, float *gradients,
                                      int64_t step, double learning_rate, double *norm);
