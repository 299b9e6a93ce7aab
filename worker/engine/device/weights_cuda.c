/* Owns one rank's weights on its device, in one allocation, laid out in one walk that is done
 * twice: to count, and to place. They cross through a piece of pinned memory, a part at a time. */
#include "worker/engine/device/weights_cuda.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 256 };

#define PART_BYTES ((size_t)8 << 20)

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

static const struct {
    enum model_role role;
    size_t member; /* of struct weights_cuda_layer */
} layer_matrices[] = {
    {MODEL_ATTN_Q, offsetof(struct weights_cuda_layer, attn_q)},
    {MODEL_ATTN_K, offsetof(struct weights_cuda_layer, attn_k)},
    {MODEL_ATTN_V, offsetof(struct weights_cuda_layer, attn_v)},
    {MODEL_ATTN_OUTPUT, offsetof(struct weights_cuda_layer, attn_output)},
    {MODEL_FFN_GATE, offsetof(struct weights_cuda_layer, ffn_gate)},
    {MODEL_FFN_UP, offsetof(struct weights_cuda_layer, ffn_up)},
    {MODEL_FFN_DOWN, offsetof(struct weights_cuda_layer, ffn_down)},
};

enum { LAYER_MATRICES = sizeof layer_matrices / sizeof layer_matrices[0] };

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
    const bool rotates = role == MODEL_ATTN_Q || role == MODEL_ATTN_K;
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

static enum status take_norm(struct loader *loader, const float **norm, enum model_role role,
                             int layer)
{
    const struct model_tensor tensor = model_tensor(loader->model, role, layer);
    const size_t bytes = (size_t)tensor.columns * sizeof(float);
    void *to = place(loader, bytes);
    *norm = to;
    if (bytes > loader->part_bytes)
        loader->part_bytes = bytes;
    if (!loader->places)
        return STATUS_OK;
    dtype_dequantize_row((float *)(void *)loader->part, tensor.data, tensor.dtype, tensor.columns);
    return send_part(loader, to, bytes);
}

static enum status walk(struct loader *loader)
{
    struct weights_cuda *weights = loader->weights;
    const struct model_spec *spec = model_spec(loader->model);
    loader->used = 0;
    TRY(take_matrix(loader, &weights->embedding, MODEL_TOKEN_EMBD, 0));
    weights->output = weights->embedding;
    if (!spec->tied_output)
        TRY(take_matrix(loader, &weights->output, MODEL_OUTPUT, 0));
    TRY(take_norm(loader, &weights->output_norm, MODEL_OUTPUT_NORM, 0));
    for (int layer = 0; layer < spec->layers; layer++) {
        struct weights_cuda_layer *to = &weights->layers[layer];
        TRY(take_norm(loader, &to->attn_norm, MODEL_ATTN_NORM, layer));
        TRY(take_norm(loader, &to->ffn_norm, MODEL_FFN_NORM, layer));
        for (int m = 0; m < LAYER_MATRICES; m++) {
            void *matrix = (char *)to + layer_matrices[m].member;
            TRY(take_matrix(loader, matrix, layer_matrices[m].role, layer));
        }
    }
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
    weights->layers = calloc((size_t)spec->layers, sizeof *weights->layers);
    struct loader loader = {.weights = weights, .model = model, .part_bytes = PART_BYTES};
    enum status status =
        weights->layers
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
    free(weights->layers);
    free(weights);
}
