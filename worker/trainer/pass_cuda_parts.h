/* The inside of a pass on a GPU, for its own files: pass_cuda.c (memory, positions, attention) and
 * pass_cuda_ops.c (ops on rows, the loss). */
#pragma once

#include "kernels/kernels_cuda.h"
#include "worker/trainer/pass_parts.h"

/* Where what rows see through a table of sight lies: [regimes][rows] each. */
struct pass_cuda_ranges {
    int32_t *first, *end;
};

/* What crosses once a sample: the same places in pinned memory and on the device. */
struct pass_cuda_crossing {
    int64_t *row_positions, *key_positions; /* [rows], [keys] */
    int32_t *ids, *targets;                 /* [rows] */
    int32_t *tokens, *first, *order;        /* of embed_gradient: [rows], [rows + 1], [rows] */
    double *losses;                         /* [rows]; comes back */
    struct pass_cuda_ranges ranges[SIGHT_TABLES_MAX];
};

struct pass_cuda {
    const struct cuda_streams *streams;
    struct pass_cuda_crossing here, there;
    char *pinned, *crossed; /* what they lie in */
    size_t crossing_bytes;
    int32_t tokens_count; /* of the vocabulary, in the sample's rows here */
    /* Operands, 16 bits: */
    uint16_t *queries;      /* [query frames][rows, heads, head_dim] */
    uint16_t *keys;         /* [key frames][keys, kv_heads, head_dim] */
    uint16_t *values;       /* [keys, kv_heads, head_dim] */
    uint16_t *flow;         /* [rows, heads, head_dim] */
    uint16_t *left, *right; /* of a product: rows of activations, or of gradients */
    uint16_t *matrix;
    float *value_gradients; /* [keys, kv_heads, head_dim] */
    void *workspace;
};

/* What a launch returned. */
MUST_CHECK enum status pass_cuda_launched(const struct pass *pass, int code, const char *kernel);

/* On the device, in order with what is there. */
MUST_CHECK enum status pass_cuda_copy(const struct pass *pass, void *to, const void *from,
                                      size_t bytes);

/* ---- pass_cuda_ops.c ---- */

MUST_CHECK enum status pass_cuda_embed(struct pass *pass);
MUST_CHECK enum status pass_cuda_embed_back(struct pass *pass, float *gradients);
MUST_CHECK enum status pass_cuda_op(struct pass *pass, int op, int layer);
MUST_CHECK enum status pass_cuda_op_back(struct pass *pass, int op, int layer, float *gradients);
MUST_CHECK enum status pass_cuda_norm(struct pass *pass);
MUST_CHECK enum status pass_cuda_head(struct pass *pass, float *gradients, float scale,
                                      double *loss);
