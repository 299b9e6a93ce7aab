/* Owns one rank's weights on its device, in one allocation, laid out in one walk that is done
 * twice: to count, and to place. They cross through a piece of pinned memory, a part at a time. */
#include "worker/engine/device/weights_cuda.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 256 };

#define PART_BYTES ((size_t)8 << 20)

struct weights_cuda_tensor {
    struct kernels_cuda_matrix matrix;
    const float *vector;
};

struct weights_cuda {
    const struct cuda_streams *streams;
    struct weights_cuda_tensor
        *tensors;           /* [layers, MODEL_ROLE_COUNT]; the whole model's in layer 0 */
    const double *inv_freq; /* [head_dim / 2] */
    void *memory;
    size_t bytes;
};

/* The walk, and the crossing while it places. */
struct loader {
    struct weights_cuda *weights;
    const struct model *model;
    size_t used;
    bool places;
    char *part;               /* pinned [part_bytes] */
    size_t part_bytes;        /* a part, or the longest row where that is more */
    struct CUevent_st *event; /* the part was copied */
};

static void *place(struct loader *loader, size_t bytes)
{
    void *at = loader->places ? (char *)loader->weights->memory + loader->used : NULL;
    loader->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

/* Sends the first `bytes` of the part to `to`, and waits: the part is needed again. */
static enum status send_part(struct loader *loader, void *to, size_t bytes)
{
    const struct cuda_streams *streams = loader->weights->streams;
    bool done = false;
    TRY(streams->runtime->copy(to, loader->part, bytes, streams->compute));
    TRY(streams->runtime->event_record(loader->event, streams->compute));
    while (!done) {
        TRY(streams->runtime->event_query(loader->event, &done));
        if (!done)
            sched_yield();
    }
    return STATUS_OK;
}

static enum status take_matrix(struct loader *loader, struct kernels_cuda_matrix *matrix,
                               enum model_role role, int layer)
{
    const struct model_tensor tensor = model_tensor(loader->model, role, layer);
    const bool rotates = model_role_is_by_head(role);
    if (tensor.dtype >= DTYPE_ON_GPU)
        return fail(STATUS_UNIMPLEMENTED,
                    "the GPU does not multiply with weights of %s: start workers with `--device "
                    "cpu`",
                    dtype_name(tensor.dtype));
    const size_t row_bytes = dtype_row_bytes(tensor.dtype, tensor.columns);
    char *to = place(loader, row_bytes * (size_t)tensor.rows);
    *matrix = (struct kernels_cuda_matrix){to, tensor.dtype, tensor.rows, tensor.columns};
    if (row_bytes > loader->part_bytes)
        loader->part_bytes = row_bytes;
    if (!loader->places)
        return STATUS_OK;
    const int64_t rows = (int64_t)(loader->part_bytes / row_bytes);
    for (int64_t first = 0; first < tensor.rows; first += rows) {
        const int64_t count = first + rows < tensor.rows ? rows : tensor.rows - first;
        for (int64_t r = 0; r < count; r++) {
            int64_t from =
                rotates ? spec_qk_row(model_spec(loader->model), (int)(first + r)) : first + r;
            memcpy(loader->part + (size_t)r * row_bytes,
                   (const char *)tensor.data + (size_t)from * row_bytes, row_bytes);
        }
        TRY(send_part(loader, to + (size_t)first * row_bytes, (size_t)count * row_bytes));
    }
    return STATUS_OK;
}

static enum status take_vector(struct loader *loader, const float **vector, enum model_role role,
                               int layer)
{
    const struct model_tensor tensor = model_tensor(loader->model, role, layer);
    const size_t bytes = (size_t)tensor.columns * sizeof(float);
    void *to = place(loader, bytes);
    *vector = to;
    if (bytes > loader->part_bytes)
        loader->part_bytes = bytes;
    if (!loader->places)
        return STATUS_OK;
    model_read_vector((float *)(void *)loader->part, loader->model, role, layer);
    return send_part(loader, to, bytes);
}

/* The output is the embedding where the two are tied. */
static enum status take_tensor(struct loader *loader, enum model_role role, int layer)
{
    const struct model_spec *spec = model_spec(loader->model);
    struct weights_cuda_tensor *tensors = loader->weights->tensors;
    struct weights_cuda_tensor *to = &tensors[layer * MODEL_ROLE_COUNT + (int)role];
    if (role < MODEL_ATTN_NORM ? layer > 0 : !model_role_is_there(spec, role))
        return STATUS_OK;
    if (model_role_shape(spec, role).is_vector)
        return take_vector(loader, &to->vector, role, layer);
    if (role != MODEL_OUTPUT || !spec->tied_output)
        return take_matrix(loader, &to->matrix, role, layer);
    *to = tensors[MODEL_TOKEN_EMBD];
    return STATUS_OK;
}

static enum status walk(struct loader *loader)
{
    const struct model_spec *spec = model_spec(loader->model);
    loader->used = 0;
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++)
            TRY(take_tensor(loader, (enum model_role)role, layer));
    return STATUS_OK;
}

static enum status check_shape(const struct model_spec *spec)
{
    assert(spec_head_dim_is_supported(spec->head_dim));
    if (!spec_widths_suit_gpu(spec))
        return fail(STATUS_UNIMPLEMENTED,
                    "the model is %d wide with %d in its feed-forward part; the CUDA products take "
                    "multiples of 8",
                    spec->hidden, spec->ffn);
    return STATUS_OK;
}

static enum status load(struct loader *loader)
{
    struct weights_cuda *weights = loader->weights;
    const struct cuda_runtime *runtime = weights->streams->runtime;
    void *part;
    TRY(walk(loader));
    weights->bytes = loader->used;
    TRY(runtime->allocate(&weights->memory, weights->bytes));
    TRY(runtime->host_allocate(&part, loader->part_bytes));
    loader->part = part;
    TRY(runtime->event_create(&loader->event));
    loader->places = true;
    return walk(loader);
}

enum status weights_cuda_create(struct weights_cuda **out, const struct model *model,
                                const struct cuda_streams *streams)
{
    const struct model_spec *spec = model_spec(model);
    TRY(check_shape(spec));
    struct weights_cuda *weights = calloc(1, sizeof *weights);
    if (!weights)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the weights' table");
    weights->streams = streams;
    weights->tensors = calloc((size_t)spec->layers * MODEL_ROLE_COUNT, sizeof *weights->tensors);
    struct loader loader = {.weights = weights, .model = model, .part_bytes = PART_BYTES};
    enum status status =
        weights->tensors
            ? load(&loader)
            : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the table of %d layers", spec->layers);
    streams->runtime->event_destroy(loader.event);
    streams->runtime->host_release(loader.part);
    if (status != STATUS_OK) {
        weights_cuda_destroy(weights);
        return status;
    }
    *out = weights;
    return STATUS_OK;
}

void weights_cuda_destroy(struct weights_cuda *weights)
{
    if (!weights)
        return;
    weights->streams->runtime->release(weights->memory);
    free(weights->tensors);
    free(weights);
}

/* ---- finding them ---- */

static const struct weights_cuda_tensor *find(const struct weights_cuda *weights,
                                              enum model_role role, int layer)
{
    return &weights->tensors[(role < MODEL_ATTN_NORM ? 0 : layer) * MODEL_ROLE_COUNT + (int)role];
}

const struct kernels_cuda_matrix *weights_cuda_matrix(const struct weights_cuda *weights,
                                                      enum model_role role, int layer)
{
    return &find(weights, role, layer)->matrix;
}

const float *weights_cuda_vector(const struct weights_cuda *weights, enum model_role role,
                                 int layer)
{
    return find(weights, role, layer)->vector;
}

size_t weights_cuda_bytes(const struct weights_cuda *weights)
{
    return weights->bytes;
}
