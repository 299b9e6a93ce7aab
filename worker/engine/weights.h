/* A model's weights on one rank: every matrix re-laid for the kernels in its file's quantised type,
 * so that the file can be unmapped afterwards. Norm weights are float32. Rows of attn_q and attn_k
 * are in the rotate-half order.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"
#include "proto/model/model.h"
#include "proto/status.h"
#include "worker/engine/device/arena.h"

struct weights_layer {
    const float *attn_norm;            /* [hidden] */
    struct matmul_weights attn_q;      /* [heads * head_dim, hidden] */
    struct matmul_weights attn_k;      /* [kv_heads * head_dim, hidden] */
    struct matmul_weights attn_v;      /* [kv_heads * head_dim, hidden] */
    struct matmul_weights attn_output; /* [hidden, heads * head_dim] */
    const float *ffn_norm;             /* [hidden] */
    struct matmul_weights ffn_gate;    /* [ffn, hidden] */
    struct matmul_weights ffn_up;      /* [ffn, hidden] */
    struct matmul_weights ffn_down;    /* [hidden, ffn] */
};

struct weights {
    struct matmul_weights embedding; /* [vocab, hidden] */
    struct matmul_weights output;    /* [vocab, hidden]; the embedding's own where they are tied */
    const float *output_norm;        /* [hidden] */
    struct weights_layer *layers;
    struct arena *arena;
};

/* Bytes that the re-laid weights take up: the `weights` region of the memory plan. */
size_t weights_bytes(const struct model *model, const struct kernels *kernels);

/* Re-lays all of them; `model` may be closed afterwards. UNIMPLEMENTED names a shape that the
 * kernels do not take. */
MUST_CHECK enum status weights_create(struct weights **weights, const struct model *model,
                                      const struct kernels *kernels);

/* Accepts NULL. */
void weights_destroy(struct weights *weights);
