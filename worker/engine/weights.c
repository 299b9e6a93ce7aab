/* Owns the re-laid weights of one rank, in one arena of exactly weights_bytes(). */
#include "worker/engine/weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((int)MODEL_HEAD_DIM_MAX == (int)ATTENTION_HEAD_DIM_MAX &&
                   (int)MODEL_GROUP_MAX == (int)ATTENTION_ROWS,
               "a model that opens is one that the attention kernels take");

/* Where each matrix of a layer goes. */
static const struct {
    enum model_role role;
    size_t member; /* of struct weights_layer */
} layer_matrices[] = {
    {MODEL_ATTN_Q, offsetof(struct weights_layer, attn_q)},
    {MODEL_ATTN_K, offsetof(struct weights_layer, attn_k)},
    {MODEL_ATTN_V, offsetof(struct weights_layer, attn_v)},
    {MODEL_ATTN_OUTPUT, offsetof(struct weights_layer, attn_output)},
    {MODEL_FFN_GATE, offsetof(struct weights_layer, ffn_gate)},
    {MODEL_FFN_UP, offsetof(struct weights_layer, ffn_up)},
    {MODEL_FFN_DOWN, offsetof(struct weights_layer, ffn_down)},
};

enum { LAYER_MATRICES = sizeof layer_matrices / sizeof layer_matrices[0] };

static size_t matrix_bytes(const struct model *model, const struct kernels *kernels,
                           enum model_role role, int layer)
{
    struct model_tensor tensor = model_tensor(model, role, layer);
    return arena_rounded(kernels->matmul_packed_bytes(tensor.dtype, tensor.rows, tensor.columns));
}

size_t weights_bytes(const struct model *model, const struct kernels *kernels)
{
    const struct model_spec *spec = model_spec(model);
    size_t norm = arena_rounded((size_t)spec->hidden * sizeof(float));
    size_t bytes = matrix_bytes(model, kernels, MODEL_TOKEN_EMBD, 0) + norm;
    if (!spec->tied_output)
        bytes += matrix_bytes(model, kernels, MODEL_OUTPUT, 0);
    for (int layer = 0; layer < spec->layers; layer++) {
        for (int m = 0; m < LAYER_MATRICES; m++)
            bytes += matrix_bytes(model, kernels, layer_matrices[m].role, layer);
        bytes += 2 * norm;
    }
    return bytes;
}

/* The rows of attn_q and attn_k in the rotate-half order, in memory that the caller frees. */
static enum status reorder_rows(void **rows, const struct model_spec *spec,
                                const struct model_tensor *tensor)
{
    size_t row_bytes = dtype_row_bytes(tensor->dtype, tensor->columns);
    char *ordered = malloc(row_bytes * (size_t)tensor->rows);
    if (!ordered)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to re-lay a matrix of %lld rows",
                    (long long)tensor->rows);
    for (int64_t row = 0; row < tensor->rows; row++)
        memcpy(ordered + (size_t)row * row_bytes,
               (const char *)tensor->data + (size_t)spec_qk_row(spec, (int)row) * row_bytes,
               row_bytes);
    *rows = ordered;
    return STATUS_OK;
}

static enum status take_matrix(struct matmul_weights *matrix, struct arena *arena,
                               const struct model *model, const struct kernels *kernels,
                               enum model_role role, int layer)
{
    struct model_tensor tensor = model_tensor(model, role, layer);
    void *packed;
    void *ordered = NULL;
    TRY(arena_take(arena, &packed,
                   kernels->matmul_packed_bytes(tensor.dtype, tensor.rows, tensor.columns)));
    if (role == MODEL_ATTN_Q || role == MODEL_ATTN_K)
        TRY(reorder_rows(&ordered, model_spec(model), &tensor));
    kernels->matmul_pack(packed, ordered ? ordered : tensor.data, tensor.dtype, tensor.rows,
                         tensor.columns);
    free(ordered);
    *matrix = (struct matmul_weights){packed, tensor.dtype, tensor.rows, tensor.columns};
    return STATUS_OK;
}

static enum status take_norm(const float **norm, struct arena *arena, const struct model *model,
                             enum model_role role, int layer)
{
    struct model_tensor tensor = model_tensor(model, role, layer);
    void *copy;
    TRY(arena_take(arena, &copy, (size_t)tensor.columns * sizeof(float)));
    dtype_dequantize_row(copy, tensor.data, tensor.dtype, tensor.columns);
    *norm = copy;
    return STATUS_OK;
}

static enum status take_layer(struct weights *weights, const struct model *model,
                              const struct kernels *kernels, int layer)
{
    struct weights_layer *to = &weights->layers[layer];
    for (int m = 0; m < LAYER_MATRICES; m++) {
        void *matrix = (char *)to + layer_matrices[m].member;
        TRY(take_matrix(matrix, weights->arena, model, kernels, layer_matrices[m].role, layer));
    }
    TRY(take_norm(&to->attn_norm, weights->arena, model, MODEL_ATTN_NORM, layer));
    return take_norm(&to->ffn_norm, weights->arena, model, MODEL_FFN_NORM, layer);
}

enum status weights_create(struct weights **out, const struct model *model,
                           const struct kernels *kernels)
{
    const struct model_spec *spec = model_spec(model);
    enum status status = STATUS_OK;
    assert(spec_head_dim_is_supported(spec->head_dim));
    struct weights *weights = calloc(1, sizeof *weights);
    if (!weights)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the weights' table");
    weights->layers = calloc((size_t)spec->layers, sizeof *weights->layers);
    if (!weights->layers) {
        status =
            fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the table of %d layers", spec->layers);
        goto destroy;
    }
    TRY_ELSE(arena_create(&weights->arena, "weights", weights_bytes(model, kernels)), destroy);
    TRY_ELSE(take_matrix(&weights->embedding, weights->arena, model, kernels, MODEL_TOKEN_EMBD, 0),
             destroy);
    weights->output = weights->embedding;
    if (!spec->tied_output)
        TRY_ELSE(take_matrix(&weights->output, weights->arena, model, kernels, MODEL_OUTPUT, 0),
                 destroy);
    TRY_ELSE(take_norm(&weights->output_norm, weights->arena, model, MODEL_OUTPUT_NORM, 0),
             destroy);
    for (int layer = 0; layer < spec->layers; layer++)
        TRY_ELSE(take_layer(weights, model, kernels, layer), destroy);
    *out = weights;
    return STATUS_OK;
destroy:
    weights_destroy(weights);
    return status;
}

void weights_destroy(struct weights *weights)
{
    if (!weights)
        return;
    arena_destroy(weights->arena);
    free(weights->layers);
    free(weights);
}
