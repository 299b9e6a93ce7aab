/* The CUDA device's stages with replicated queries, and decode. Promises that a decoded token whose
 * products every rank computes is recorded once, in pieces between the exchanges, and done again
 * for each further token: what changes from token to token lies in device memory. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/device/arena.h"
#include "worker/engine/device/device_cuda_step.h"

/* Where the records of decode's extents lie. */
enum { BASE_CACHE, BASE_SINKS };

/* Rows that attend as decode does: one piece of work for each range of keys. */
enum { FEW_ROWS = 16 };

/* ---- memory ---- */

static float *floats(char **at, int64_t count)
{
    float *piece = (float *)(void *)*at;
    *at += arena_rounded((size_t)count * sizeof(float));
    return piece;
}

/* The pieces, in the order and with the rounding of the memory plan's decode region. */
enum status device_cuda_step_prepare(struct device_cuda *cuda)
{
    const struct model_spec *spec = &cuda->spec;
    struct device_cuda_step *step = &cuda->step;
    struct device_memory *memory = &cuda->device.memory;
    struct bands bands;
    method_bands(&cuda->choice.request.method, &bands);
    const int64_t rows = cuda->plan.replicated_rows;
    const int64_t heads = rows * spec->heads;
    const int64_t query_width = device_cuda_query_width(cuda);
    char *at = cuda->regions[MEMORY_DECODE];
    step->hidden = floats(&at, rows * spec->hidden);
    step->normed = floats(&at, rows * spec->hidden);
    memory->delta = floats(&at, rows * spec->hidden);
    memory->qkv = floats(&at, rows * (query_width + 2 * device_cuda_key_width(cuda)));
    step->queries = floats(&at, bands.query_frames * rows * query_width);
    step->mixed = floats(&at, rows * query_width);
    memory->gate = floats(&at, rows * spec->ffn);
    step->up = floats(&at, rows * spec->ffn);
    step->tables = floats(&at, (bands.query_frames + 1) * rows * spec->head_dim);
    memory->states = floats(&at, cuda->choice.group.workers * heads * (spec->head_dim + 2));
    step->partials = floats(&at, step->splits * heads * (spec->head_dim + 2));
    assert((size_t)(at - (char *)cuda->regions[MEMORY_DECODE]) <=
           (size_t)cuda->plan.bytes[MEMORY_DECODE]);
    step->segments.graphs = calloc((size_t)spec->layers + 1, sizeof *step->segments.graphs);
    if (!step->segments.graphs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d graphs", spec->layers);
    return STATUS_OK;
}

void device_cuda_step_deinit(struct device_cuda *cuda)
{
    struct device_cuda_segments *segments = &cuda->step.segments;
    for (int s = 0; segments->graphs && s < segments->count; s++)
        cuda->streams->runtime->graph_destroy(segments->graphs[s]);
    free(segments->graphs);
    memset(&cuda->step, 0, sizeof cuda->step);
}

/* ---- a token's recorded segments ---- */

/* Whether the calls of this step are to be put on the stream: not while a recording is replayed. */
static bool runs(const struct device_cuda *cuda)
{
    const struct device_cuda_segments *segments = &cuda->step.segments;
    return !segments->used || segments->recording;
}

static enum status open_segment(struct device_cuda *cuda)
{
    struct device_cuda_segments *segments = &cuda->step.segments;
    segments->recording = segments->used && segments->next == segments->count;
    return segments->recording ? cuda->streams->runtime->graph_begin(cuda->streams->compute)
                               : STATUS_OK;
}

static enum status close_segment(struct device_cuda *cuda)
{
    struct device_cuda_segments *segments = &cuda->step.segments;
    const struct cuda_streams *streams = cuda->streams;
    if (!segments->used)
        return STATUS_OK;
    if (segments->recording) {
        segments->recording = false;
        TRY(streams->runtime->graph_end(streams->compute, &segments->graphs[segments->count]));
        segments->count++;
    }
    return streams->runtime->graph_launch(segments->graphs[segments->next++], streams->compute);
}

/* ---- beginning ---- */

/* One row's keys make other splits than those of several rows, whose ranges have to lie where those
 * of other contexts do. */
static int splits_of(const struct device_cuda_step *step)
{
    return step->given.rows == 1 ? step->token_splits : step->splits;
}

static enum status add_extent(struct device_cuda *cuda, int *count, const struct device_keys *keys,
                              int64_t first, int64_t end)
{
    struct device_cuda_step *step = &cuda->step;
    const bool sinks = keys->key_frame == 1;
    const char *base = sinks ? device_cuda_sinks(cuda, 0, false) : cuda->device.memory.cache;
    if (*count == step->extent_capacity)
        return fail(STATUS_INTERNAL, "the plan gave a step %d extents of keys; more came",
                    step->extent_capacity);
    step->host.extents[(*count)++] = (struct kernels_cuda_extent){
        .record = ((const char *)keys->records - base) / (int64_t)cuda->device.panel_bytes +
                  (first - keys->first) / PANEL_TOKENS,
        .first = first,
        .end = end,
        .key_frame = keys->key_frame,
        .base = sinks ? BASE_SINKS : BASE_CACHE,
    };
    return STATUS_OK;
}

static int64_t panels_between(int64_t first, int64_t end)
{
    return (end - first + PANEL_TOKENS - 1) / PANEL_TOKENS;
}

/* Cuts the extents of keys at the boundaries of ranges: each range, and the sinks, is a split. */
static enum status cut_ranges(struct device_cuda *cuda, int *extent_count)
{
    struct device_cuda_step *step = &cuda->step;
    const int64_t range_tokens = memory_plan_range_tokens(&cuda->choice);
    int64_t current = -2; /* of no range; -1 is the sinks' */
    int extents = 0;
    int ranges = 0;
    for (int k = 0; k < step->given.key_count; k++) {
        const struct device_keys *keys = &step->given.keys[k];
        for (int64_t first = keys->first; first < keys->end;) {
            const int64_t range = keys->key_frame == 1 ? -1 : first / range_tokens;
            int64_t end = range < 0 ? keys->end : (range + 1) * range_tokens;
            end = end < keys->end ? end : keys->end;
            if (range != current) {
                if (ranges == step->splits)
                    return fail(STATUS_INTERNAL, "the plan gave decode %d key ranges; more came",
                                step->splits);
                step->host.split_first[ranges++] = extents;
            }
            current = range;
            TRY(add_extent(cuda, &extents, keys, first, end));
            first = end;
        }
    }
    for (; ranges <= step->splits; ranges++)
        step->host.split_first[ranges] = extents;
    *extent_count = extents;
    return STATUS_OK;
}

/* Shares the panels of a single row's keys out evenly: any split may end within an extent. */
static enum status cut_evenly(struct device_cuda *cuda, int *extent_count)
{
    struct device_cuda_step *step = &cuda->step;
    const int splits = step->token_splits;
    int64_t panels = 0;
    for (int k = 0; k < step->given.key_count; k++)
        panels += panels_between(step->given.keys[k].first, step->given.keys[k].end);
    int64_t passed = 0;
    int split = 0;
    int extents = 0;
    step->host.split_first[0] = 0;
    for (int k = 0; k < step->given.key_count; k++) {
        const struct device_keys *keys = &step->given.keys[k];
        for (int64_t first = keys->first; first < keys->end;) {
            while (passed == (split + 1) * panels / splits)
                step->host.split_first[++split] = extents;
            const int64_t left = (split + 1) * panels / splits - passed;
            int64_t end = first + left * PANEL_TOKENS;
            end = end < keys->end ? end : keys->end;
            TRY(add_extent(cuda, &extents, keys, first, end));
            passed += panels_between(first, end);
            first = end;
        }
    }
    while (split < splits)
        step->host.split_first[++split] = extents;
    *extent_count = extents;
    return STATUS_OK;
}

static enum status send_lists(struct device_cuda *cuda)
{
    struct device_cuda_step *step = &cuda->step;
    const struct device_step *given = &step->given;
    const size_t rows = (size_t)given->rows;
    int extents = 0;
    for (int64_t r = 0; r < given->rows; r++) {
        const int64_t index = given->first + r;
        const bool owned = ownership_owner(given->ownership, index) == given->rank;
        step->host.ids[r] = given->ids[index];
        step->host.indices[r] = index;
        step->host.records[r] = owned ? device_cuda_record(cuda, given->cache, index) : -1;
    }
    TRY(given->rows == 1 ? cut_evenly(cuda, &extents) : cut_ranges(cuda, &extents));
    TRY(device_cuda_copy(cuda, step->there.ids, step->host.ids, rows * sizeof(int32_t)));
    TRY(device_cuda_copy(cuda, step->there.indices, step->host.indices, rows * sizeof(int64_t)));
    TRY(device_cuda_copy(cuda, step->there.records, step->host.records, rows * sizeof(int64_t)));
    TRY(device_cuda_copy(cuda, step->there.extents, step->host.extents,
                         (size_t)extents * sizeof *step->host.extents));
    TRY(device_cuda_copy(cuda, step->there.split_first, step->host.split_first,
                         ((size_t)splits_of(step) + 1) * sizeof(int32_t)));
    return cuda->streams->runtime->event_record(cuda->lists_read, cuda->streams->compute);
}

static enum status embed_rows(struct device_cuda *cuda)
{
    struct device_cuda_step *step = &cuda->step;
    const struct kernels_cuda_embed embed = {
        .hidden = step->hidden,
        .matrix = cuda->weights->embedding,
        .ids = step->there.ids,
        .rows = step->given.rows,
    };
    TRY(device_cuda_tables(cuda, step->given.bands, step->tables, step->there.indices,
                           step->given.rows));
    LAUNCH(cuda, embed, &embed);
    return STATUS_OK;
}

enum status device_cuda_step_begin(struct device *device, const struct device_step *given)
{
    struct device_cuda *cuda = device_cuda_of(device);
    struct device_cuda_step *step = &cuda->step;
    atomic_store(&cuda->skipping, false);
    step->given = *given;
    step->ended = false;
    step->segments.next = 0;
    step->segments.used = given->token && !device->times_parts &&
                          (cuda->choice.group.workers == 1 || !cuda->choice.request.decode_split);
    part_clock_forget(&cuda->clock);
    TRY(device_cuda_wait(cuda, cuda->lists_read, NULL));
    TRY(device_cuda_part(cuda, DEVICE_PART_STEP_QKV));
    TRY(send_lists(cuda));
    TRY(open_segment(cuda));
    return runs(cuda) ? embed_rows(cuda) : STATUS_OK;
}

/* ---- products ---- */

static enum status multiply(struct device_cuda *cuda, float *y, const float *x,
                            const struct kernels_cuda_matrix *const *matrices, int count,
                            int64_t rows, struct span outputs)
{
    struct kernels_cuda_matmul args = {
        .y = y,
        .x = x,
        .x_stride = matrices[0]->in,
        .rows = rows,
        .matrix_count = count,
        .out_first = outputs.first,
        .out_end = outputs.end,
    };
    for (int m = 0; m < count; m++) {
        args.matrices[m] = *matrices[m];
        args.y_stride += matrices[m]->out;
    }
    if (outputs.first < outputs.end)
        LAUNCH(cuda, matmul_decode, &args);
    return STATUS_OK;
}

/* hidden += delta, and its norm. */
static enum status add_and_norm(struct device_cuda *cuda, bool add, const float *weight)
{
    struct device_cuda_step *step = &cuda->step;
    const struct kernels_cuda_rmsnorm args = {
        .out = step->normed,
        .out_dtype = DTYPE_F32,
        .hidden = step->hidden,
        .add = add ? cuda->device.memory.delta : NULL,
        .weight = weight,
        .rows = step->given.rows,
        .width = cuda->spec.hidden,
        .eps = cuda->spec.norm_eps,
    };
    LAUNCH(cuda, rmsnorm, &args);
    return STATUS_OK;
}

enum status device_cuda_step_qkv(struct device *device, int layer, struct span outputs)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const struct weights_cuda_layer *weights = &cuda->weights->layers[layer];
    const struct kernels_cuda_matrix *const matrices[] = {&weights->attn_q, &weights->attn_k,
                                                          &weights->attn_v};
    if (!runs(cuda))
        return STATUS_OK;
    TRY(device_cuda_part(cuda, DEVICE_PART_STEP_QKV));
    TRY(add_and_norm(cuda, layer > 0, weights->attn_norm));
    return multiply(cuda, device->memory.qkv, cuda->step.normed, matrices, 3, cuda->step.given.rows,
                    outputs);
}

/* ---- attention ---- */

static enum status rotate(struct device_cuda *cuda, int layer)
{
    struct device_cuda_step *step = &cuda->step;
    const struct device_step *given = &step->given;
    const int64_t query_width = device_cuda_query_width(cuda);
    const int64_t key_width = device_cuda_key_width(cuda);
    const int64_t table_stride = given->rows * cuda->spec.head_dim;
    const float *qkv = cuda->device.memory.qkv;
    const struct kernels_cuda_rope_queries queries = {
        .out = step->queries,
        .frame_stride = given->rows * query_width,
        .q = qkv,
        .q_stride = query_width + 2 * key_width,
        .table = step->tables,
        .table_stride = table_stride,
        .frame_count = given->bands->query_frames,
        .rows = given->rows,
        .heads = cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
    };
    const struct kernels_cuda_rope_store store = {
        .cache =
            (char *)cuda->device.memory.cache + (size_t)layer * kv_cache_layer_bytes(given->cache),
        .sinks_rotated = device_cuda_sinks(cuda, layer, true),
        .sinks_unrotated = device_cuda_sinks(cuda, layer, false),
        .sinks = given->sinks,
        .records = step->there.records,
        .indices = step->there.indices,
        .k = qkv + query_width,
        .v = qkv + query_width + key_width,
        .stride = query_width + 2 * key_width,
        .table = step->tables + given->bands->query_frames * table_stride,
        .rows = given->rows,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
    };
    LAUNCH(cuda, rope_queries, &queries);
    LAUNCH(cuda, rope_store, &store);
    return STATUS_OK;
}

/* One state of a step's rows: acc, max and sum one behind the other. */
static float *state_of(const struct device_cuda *cuda, int rank)
{
    return cuda->device.memory.states +
           (int64_t)rank * cuda->step.given.rows * cuda->spec.heads * (cuda->spec.head_dim + 2);
}

/* Few rows: ranges of keys side by side, merged in order. */
static enum status attend_ranges(struct device_cuda *cuda, int layer)
{
    struct device_cuda_step *step = &cuda->step;
    const struct device_step *given = &step->given;
    float *partials = given->rows == 1 ? step->token_partials : step->partials;
    const struct kernels_cuda_decode decode = {
        .regimes = &cuda->regimes,
        .bases = {[BASE_CACHE] = (char *)cuda->device.memory.cache +
                                 (size_t)layer * kv_cache_layer_bytes(given->cache),
                  [BASE_SINKS] = device_cuda_sinks(cuda, layer, false)},
        .extents = step->there.extents,
        .split_first = step->there.split_first,
        .splits = splits_of(step),
        .index = step->there.indices,
        .queries = step->queries,
        .frame_stride = given->rows * device_cuda_query_width(cuda),
        .states = partials,
        .rows = given->rows,
        .heads = cuda->spec.heads,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
        .scale_log2 = device_scale_log2(&cuda->choice, cuda->spec.head_dim),
    };
    const struct kernels_cuda_combine combine = {
        .states = partials,
        .count = splits_of(step),
        .state = state_of(cuda, given->rank),
        .out_dtype = DTYPE_F32,
        .rows = given->rows,
        .heads = cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
    };
    LAUNCH(cuda, attention_decode, &decode);
    LAUNCH(cuda, attention_combine, &combine);
    return STATUS_OK;
}

/* Many rows: as a prefill attends, into the state itself. */
static enum status attend_rows(struct device_cuda *cuda, const struct device_keys *keys, int count)
{
    const struct device_step *given = &cuda->step.given;
    const struct attention_span span = {0, given->first, given->rows};
    const int query = 0;
    const int64_t heads = given->rows * cuda->spec.heads;
    float *state = state_of(cuda, given->rank);
    const struct kernels_cuda_prefill args = {
        .regimes = &cuda->regimes,
        .queries = cuda->step.queries,
        .frame_stride = given->rows * device_cuda_query_width(cuda),
        .acc = state,
        .max = state + heads * cuda->spec.head_dim,
        .sum = state + heads * (cuda->spec.head_dim + 1),
        .first = true,
        .heads = cuda->spec.heads,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
        .scale_log2 = device_scale_log2(&cuda->choice, cuda->spec.head_dim),
    };
    return device_cuda_attend(cuda, &args, &span, &query, 1, keys, count);
}

enum status device_cuda_step_attend(struct device *device, int layer,
                                    const struct device_keys *keys, int count)
{
    struct device_cuda *cuda = device_cuda_of(device);
    if (runs(cuda)) {
        TRY(device_cuda_part(cuda, DEVICE_PART_STEP_ATTEND));
        TRY(rotate(cuda, layer));
        if (cuda->step.given.rows <= FEW_ROWS)
            TRY(attend_ranges(cuda, layer));
        else
            TRY(attend_rows(cuda, keys, count));
    }
    return cuda->choice.group.workers == 1 ? STATUS_OK
                                           : close_segment(cuda); /* states are exchanged */
}

/* ---- after attention ---- */

enum status device_cuda_step_output(struct device *device, int layer, struct span outputs)
{
    struct device_cuda *cuda = device_cuda_of(device);
    struct device_cuda_step *step = &cuda->step;
    const struct kernels_cuda_matrix *const matrix = &cuda->weights->layers[layer].attn_output;
    const struct kernels_cuda_combine combine = {
        .states = device->memory.states,
        .count = cuda->choice.group.workers,
        .out = step->mixed,
        .out_dtype = DTYPE_F32,
        .rows = step->given.rows,
        .heads = cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
    };
    if (cuda->choice.group.workers > 1)
        TRY(open_segment(cuda));
    if (!runs(cuda))
        return STATUS_OK;
    TRY(device_cuda_part(cuda, DEVICE_PART_STEP_OUTPUT));
    LAUNCH(cuda, attention_combine, &combine);
    return multiply(cuda, device->memory.delta, step->mixed, &matrix, 1, step->given.rows, outputs);
}

enum status device_cuda_step_gate(struct device *device, int layer, struct span outputs)
{
    struct device_cuda *cuda = device_cuda_of(device);
    struct device_cuda_step *step = &cuda->step;
    const struct weights_cuda_layer *weights = &cuda->weights->layers[layer];
    const struct kernels_cuda_matrix *const gate = &weights->ffn_gate;
    const struct kernels_cuda_matrix *const up = &weights->ffn_up;
    const int64_t rows = step->given.rows;
    const struct kernels_cuda_swiglu swiglu = {
        .out = device->memory.gate + outputs.first,
        .out_dtype = DTYPE_F32,
        .out_stride = cuda->spec.ffn,
        .gate = device->memory.gate + outputs.first,
        .up = step->up + outputs.first,
        .in_stride = cuda->spec.ffn,
        .rows = rows,
        .width = outputs.end - outputs.first,
    };
    if (!runs(cuda))
        return STATUS_OK;
    TRY(device_cuda_part(cuda, DEVICE_PART_STEP_GATE));
    TRY(add_and_norm(cuda, true, weights->ffn_norm));
    TRY(multiply(cuda, device->memory.gate, step->normed, &gate, 1, rows, outputs));
    TRY(multiply(cuda, step->up, step->normed, &up, 1, rows, outputs));
    if (outputs.first < outputs.end)
        LAUNCH(cuda, swiglu, &swiglu);
    return STATUS_OK;
}

enum status device_cuda_step_down(struct device *device, int layer, struct span outputs)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const struct kernels_cuda_matrix *const matrix = &cuda->weights->layers[layer].ffn_down;
    if (!runs(cuda))
        return STATUS_OK;
    TRY(device_cuda_part(cuda, DEVICE_PART_STEP_DOWN));
    return multiply(cuda, device->memory.delta, device->memory.gate, &matrix, 1,
                    cuda->step.given.rows, outputs);
}

static enum status find_logits(struct device_cuda *cuda, int64_t row, struct span outputs)
{
    struct device_cuda_step *step = &cuda->step;
    const struct kernels_cuda_matrix *const matrix = &cuda->weights->output;
    if (!step->ended)
        TRY(add_and_norm(cuda, true, cuda->weights->output_norm));
    return multiply(cuda, cuda->logits, step->normed + row * cuda->spec.hidden, &matrix, 1, 1,
                    outputs);
}

enum status device_cuda_step_logits(struct device *device, int64_t row, struct span outputs)
{
    struct device_cuda *cuda = device_cuda_of(device);
    cuda->logits_part = DEVICE_PART_STEP_LOGITS;
    if (runs(cuda)) {
        TRY(device_cuda_part(cuda, DEVICE_PART_STEP_LOGITS));
        TRY(find_logits(cuda, row, outputs));
    }
    cuda->step.ended = true;
    TRY(close_segment(cuda));
    return device_cuda_end_parts(cuda, NULL);
}
