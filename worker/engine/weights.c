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

/* A matrix of the slice, as it is re-laid. */
struct part {
    struct model_tensor tensor; /* of the whole model */
    struct span rows, columns;
    enum dtype dtype; /* the tensor's, or float32 where its blocks are cut */
};

static int64_t length(struct span span)
{
    return span.end - span.first;
}

static struct part part_of(const struct model *model, const struct tensor_slice *slice,
                           enum model_role role, int layer)
{
    const struct model_role_part cut = model_role_part(model_spec(model), slice, role);
    struct part part = {model_tensor(model, role, layer), cut.rows, cut.columns, DTYPE_F32};
    const int block = dtype_block_elements(part.tensor.dtype);
    if (cut.columns.first % block == 0 && cut.columns.end % block == 0)
        part.dtype = part.tensor.dtype;
    return part;
}

static size_t tensor_bytes(const struct model *model, const struct tensor_slice *slice,
                           const struct kernels *kernels, enum model_role role, int layer)
{
    const struct part part = part_of(model, slice, role, layer);
    if (model_role_shape(model_spec(model), role).is_vector)
        return arena_rounded((size_t)length(part.columns) * sizeof(float));
    return arena_rounded(
        kernels->matmul_packed_bytes(part.dtype, length(part.rows), length(part.columns)));
}

size_t weights_bytes(const struct model *model, const struct tensor_slice *slice,
                     const struct kernels *kernels)
{
    const struct model_spec *spec = model_spec(model);
    size_t bytes = 0;
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++)
            if (is_taken(spec, (enum model_role)role, layer))
                bytes += tensor_bytes(model, slice, kernels, (enum model_role)role, layer);
    return bytes;
}

/* ---- taking them ---- */

/* The part's columns of one of the tensor's rows. `whole` [columns of the tensor] is scratch. */
static void copy_row(void *to, const struct part *part, const void *row, float *whole)
{
    const enum dtype dtype = part->tensor.dtype;
    if (part->dtype == dtype) {
        memcpy(to, (const char *)row + dtype_row_bytes(dtype, part->columns.first),
               dtype_row_bytes(dtype, length(part->columns)));
        return;
    }
    dtype_dequantize_row(whole, row, dtype, part->tensor.columns);
    memcpy(to, whole + part->columns.first, (size_t)length(part->columns) * sizeof *whole);
}

/* Whether the part's rows lie in the file as they are packed. */
static bool lies_in_file(const struct part *part, enum model_role role)
{
    return !model_role_is_by_head(role) && length(part->columns) == part->tensor.columns;
}

/* The part's rows, those of heads in the rotate-half order, in memory that the caller frees. */
static enum status copy_rows(void **rows, const struct model_spec *spec, const struct part *part,
                             enum model_role role)
{
    const size_t from_bytes = dtype_row_bytes(part->tensor.dtype, part->tensor.columns);
    const size_t to_bytes = dtype_row_bytes(part->dtype, length(part->columns));
    char *copied = malloc(to_bytes * (size_t)length(part->rows));
    float *whole = malloc((size_t)part->tensor.columns * sizeof *whole);
    if (!copied || !whole) {
        free(copied);
        free(whole);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to re-lay a matrix of %lld rows",
                    (long long)length(part->rows));
    }
    for (int64_t row = part->rows.first; row < part->rows.end; row++) {
        const int64_t from = model_role_is_by_head(role) ? spec_qk_row(spec, (int)row) : row;
        copy_row(copied + (size_t)(row - part->rows.first) * to_bytes, part,
                 (const char *)part->tensor.data + (size_t)from * from_bytes, whole);
    }
    free(whole);
    *rows = copied;
    return STATUS_OK;
}

/* What weights are taken from, and by whom. */
struct taking {
    struct arena *arena;
    const struct model *model;
    const struct tensor_slice *slice;
    const struct kernels *kernels;
    const struct weights_store *store;
};

/* Maps what another rank packs, page by page: it counts for this process from now on, and a call
 * for all of it would keep the process's other threads from mapping anything for as long. */
static void touch(const void *packed, size_t bytes)
{
    enum { PAGE_BYTES = 4096 };
    const volatile char *at = packed;
    for (size_t b = 0; b < bytes; b += PAGE_BYTES)
        (void)at[b];
}

static enum status take_matrix(struct matmul_weights *matrix, const struct taking *taking,
                               enum model_role role, int layer)
{
    const struct part part = part_of(taking->model, taking->slice, role, layer);
    const int64_t out = length(part.rows), in = length(part.columns);
    const size_t row_bytes = dtype_row_bytes(part.tensor.dtype, part.tensor.columns);
    const void *rows = (const char *)part.tensor.data + (size_t)part.rows.first * row_bytes;
    void *packed;
    void *copied = NULL;
    TRY(arena_take(taking->arena, &packed,
                   taking->kernels->matmul_packed_bytes(part.dtype, out, in)));
    *matrix = (struct matmul_weights){packed, part.dtype, out, in};
    if (!taking->store->packs) {
        touch(packed, taking->kernels->matmul_packed_bytes(part.dtype, out, in));
        taking->store->between(taking->store->context);
        return STATUS_OK;
    }
    if (!lies_in_file(&part, role))
        TRY(copy_rows(&copied, model_spec(taking->model), &part, role));
    taking->kernels->matmul_pack(packed, copied ? copied : rows, part.dtype, out, in);
    free(copied);
    taking->store->between(taking->store->context);
    return STATUS_OK;
}

static enum status take_vector(const float **vector, const struct taking *taking,
                               enum model_role role, int layer)
{
    const struct part part = part_of(taking->model, taking->slice, role, layer);
    const size_t all = (size_t)part.tensor.columns;
    float *whole = malloc(all * sizeof *whole);
    void *copy = NULL;
    if (!whole)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read a vector of %zu", all);
    const enum status status =
        arena_take(taking->arena, &copy, (size_t)length(part.columns) * sizeof *whole);
    if (status == STATUS_OK && taking->store->packs) {
        model_read_vector(whole, taking->model, role, layer);
        memcpy(copy, whole + part.columns.first, (size_t)length(part.columns) * sizeof *whole);
    }
    free(whole);
    *vector = copy;
    return status;
}

static enum status take_layer(struct weights *weights, const struct taking *taking, int layer)
{
    const struct model_spec *spec = model_spec(taking->model);
    for (int r = 0; r < MODEL_ROLE_COUNT; r++) {
        const enum model_role role = (enum model_role)r;
        struct weights_tensor *to = &weights->tensors[layer * MODEL_ROLE_COUNT + r];
        if (!is_taken(spec, role, layer))
            continue;
        if (model_role_shape(spec, role).is_vector)
            TRY(take_vector(&to->vector, taking, role, layer));
        else
            TRY(take_matrix(&to->matrix, taking, role, layer));
    }
    return STATUS_OK;
}

/* A copy that is shared was mapped anew, and counts for this process from the first look on. */
static enum status freeze(const struct weights *weights, const struct taking *taking)
{
    const int tensors = model_spec(taking->model)->layers * MODEL_ROLE_COUNT;
    TRY(arena_freeze(weights->arena, taking->store->fd));
    for (int t = 0; taking->store->fd >= 0 && t < tensors; t++) {
        const struct matmul_weights *matrix = &weights->tensors[t].matrix;
        if (!matrix->packed)
            continue;
        touch(matrix->packed,
              taking->kernels->matmul_packed_bytes(matrix->dtype, matrix->out, matrix->in));
        taking->store->between(taking->store->context);
    }
    return STATUS_OK;
}

enum status weights_create(struct weights **out, const struct model *model,
                           const struct tensor_slice *slice, const struct kernels *kernels,
                           const struct weights_store *store)
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
    const size_t bytes = weights_bytes(model, slice, kernels);
    TRY_ELSE(store->fd < 0
                 ? arena_create(&weights->arena, "weights", bytes)
                 : arena_create_over(&weights->arena, "weights", bytes, store->fd, store->packs),
             destroy);
    const struct taking taking = {weights->arena, model, slice, kernels, store};
    for (int layer = 0; layer < spec->layers; layer++)
        TRY_ELSE(take_layer(weights, &taking, layer), destroy);
    if (store->packs)
        TRY_ELSE(freeze(weights, &taking), destroy);
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
