/* A model's weights on a device: every matrix row by row in its file's own type, rows of attn_q and
 * attn_k in the rotate-half order, norms in float32.
 */
#pragma once

#include "kernels/kernels_cuda.h"
#include "proto/model/model.h"
#include "worker/engine/device/cuda_runtime.h"

struct weights_cuda_layer {
    const float *attn_norm; /* [hidden] */
    struct kernels_cuda_matrix attn_q;
    struct kernels_cuda_matrix attn_k;
    struct kernels_cuda_matrix attn_v;
    struct kernels_cuda_matrix attn_output;
    const float *ffn_norm; /* [hidden] */
    struct kernels_cuda_matrix ffn_gate;
    struct kernels_cuda_matrix ffn_up;
    struct kernels_cuda_matrix ffn_down;
};

struct weights_cuda {
    const struct cuda_streams *streams;
    struct kernels_cuda_matrix embedding;
    struct kernels_cuda_matrix output; /* the embedding where the two are tied */
    const float *output_norm;          /* [hidden] */
    struct weights_cuda_layer *layers;
    void *memory;
    size_t bytes; /* the `weights` region of the memory plan */
};

/* Copies all of them; `model` may be closed afterwards. UNIMPLEMENTED names a shape that the
 * kernels do not take. */
MUST_CHECK enum status weights_cuda_create(struct weights_cuda **weights, const struct model *model,
                                           const struct cuda_streams *streams);

/* Accepts NULL. */
void weights_cuda_destroy(struct weights_cuda *weights);
