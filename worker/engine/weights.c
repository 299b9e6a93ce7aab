/* Owns the re-laid weights of one rank, in one arena of exactly weights_bytes(). */
#include "worker/engine/weights.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/device/arena.h"

_Static_assert((int)MODEL_HEAD_DIM_MAX == (int)ATTENTION_HEAD_DIM_MAX &&
                   (int)MODEL_GROUP_MAX == (int)ATTENTION_ROWS,
               "a model that opens is one that the attention kernels take");

struct weights_tensor {
    struct matmul_weights matrix;
    const float *vector;
};

struct weights {
    struct weights_tensor *tensors; /* [layers, MODEL_ROLE_COUNT]; the whole model's in layer 0 */
    struct arena *arena;
};

/* ---- how much it is ---- */

/* Which tensors are taken: the output is not where it is the embedding. */
static bool is_taken(const struct model_spec *spec, enum model_role role, int layer)
{
    if (role < MODEL_ATTN_NORM)
        return layer == 0 && !(role == MODEL_OUTPUT && spec->tied_output);
    return model_role_is_there(spec, role);
}

static size_t tensor_bytes(const struct model *model, const struct kernels *kernels,
                           enum model_role role, int layer)
{
    const struct model_tensor tensor = model_tensor(model, role, layer);
    if (model_role_shape(model_spec(model), role).is_vector)
        return arena_rounded((size_t)tensor.columns * sizeof(float));
    return arena_rounded(kernels->matmul_packed_bytes(tensor.dtype, tensor.rows, tensor.columns));
}

size_t weights_bytes(const struct model *model, const struct kernels *kernels)
{
    const struct model_spec *spec = model_spec(model);
    size_t bytes = 0;
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++)
            if (is_taken(spec, (enum model_role)role, layer))
                bytes += tensor_bytes(model, kernels, (enum model_role)role, layer);
    return bytes;
}

/* ---- taking them ---- */

/* A matrix's rows in the rotate-half order, in memory that the caller frees. */
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
    if (model_role_is_by_head(role))
        TRY(reorder_rows(&ordered, model_spec(model), &tensor));
    kernels->matmul_pack(packed, ordered ? ordered : tensor.data, tensor.dtype, tensor.rows,
                         tensor.columns);
    free(ordered);
    *matrix = (struct matmul_weights){packed, tensor.dtype, tensor.rows, tensor.columns};
    return STATUS_OK;
}

static enum status take_vector(const float **vector, struct arena *arena, const struct model *model,
                               enum model_role role, int layer)
{
    const int64_t count = model_role_shape(model_spec(model), role).columns;
    void *copy;
    TRY(arena_take(arena, &copy, (size_t)count * sizeof(float)));
    model_read_vector(copy, model, role, layer);
    *vector = copy;
    return STATUS_OK;
}

static enum status take_layer(struct weights *weights, const struct model *model,
                              const struct kernels *kernels, int layer)
{
    for (int r = 0; r < MODEL_ROLE_COUNT; r++) {
        const enum model_role role = (enum model_role)r;
        struct weights_tensor *to = &weights->tensors[layer * MODEL_ROLE_COUNT + r];
        if (!is_taken(model_spec(model), role, layer))
            continue;
        if (model_role_shape(model_spec(model), role).is_vector)
            TRY(take_vector(&to->vector, weights->arena, model, role, layer));
        else
            TRY(take_matrix(&to->matrix, weights->arena, model, kernels, role, layer));
    }
    return STATUS_OK;
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
    weights->tensors = calloc((size_t)spec->layers * MODEL_ROLE_COUNT, sizeof *weights->tensors);
    if (!weights->tensors) {
        status =
            fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the table of %d layers", spec->layers);
        goto destroy;
    }
    TRY_ELSE(arena_create(&weights->arena, "weights", weights_bytes(model, kernels)), destroy);
    for (int layer = 0; layer < spec->layers; layer++)
        TRY_ELSE(take_layer(weights, model, kernels, layer), destroy);
    if (spec->tied_output)
        weights->tensors[MODEL_OUTPUT] = weights->tensors[MODEL_TOKEN_EMBD];
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
    free(weights->tensors);
    free(weights);
}

/* ---- finding them ---- */

static const struct weights_tensor *find(const struct weights *weights, enum model_role role,
                                         int layer)
{
    return &weights->tensors[(role < MODEL_ATTN_NORM ? 0 : layer) * MODEL_ROLE_COUNT + (int)role];
}

const struct matmul_weights *weights_matrix(const struct weights *weights, enum model_role role,
                                            int layer)
{
    return &find(weights, role, layer)->matrix;
}

const float *weights_vector(const struct weights *weights, enum model_role role, int layer)
{
    return find(weights, role, layer)->vector;
}
