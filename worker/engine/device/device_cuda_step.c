/* The CUDA device's stages with replicated queries, and decode. Promises that a decoded token whose
 * products every rank computes is recorded once, in pieces between the exchanges, and done again
 * for each further token: what changes from token to token lies in device memory. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/device/arena.h"
#include "worker/engine/device/device_cuda_ops.h"
#include "worker/engine/device/device_cuda_step.h"

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
    struct device_cuda_step *step = &cuda->step;
    float **to = cuda->device.memory.step;
    const struct layer_buffer_row *buffers = cuda->program->buffers;
    const int64_t rows = cuda->device.group.step_rows;
    const struct bands widest = layer_buffers_widest();
    char *at = cuda->regions[MEMORY_DECODE];
    for (int b = 0; b < LAYER_BUFFERS; b++)
        to[b] = floats(&at, rows * layer_buffers_step_width(buffers, (enum layer_buffer)b, &widest,
                                                            cuda->device.group.workers));
    to[LAYER_ACTIVE] = to[LAYER_GATE];
    step->partials = floats(&at, step->splits * rows * buffers[LAYER_STATE].width);
    assert((size_t)(at - (char *)cuda->regions[MEMORY_DECODE]) <=
           (size_t)cuda->plan.bytes[MEMORY_DECODE]);
    const int graphs = cuda->spec.layers + 1;
    step->segments.graphs = calloc((size_t)graphs, sizeof *step->segments.graphs);
    if (!step->segments.graphs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d graphs", graphs);
    return STATUS_OK;
}

static void forget_recording(struct device_cuda *cuda)
{
    struct device_cuda_segments *segments = &cuda->step.segments;
    for (int s = 0; segments->graphs && s < segments->count; s++)
        cuda->streams->runtime->graph_destroy(segments->graphs[s]);
    segments->count = 0;
}

void device_cuda_step_deinit(struct device_cuda *cuda)
{
    forget_recording(cuda);
    free(cuda->step.segments.graphs);
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
    if (segments->open)
        return STATUS_OK;
    segments->open = true;
    segments->recording = segments->used && segments->next == segments->count;
    return segments->recording ? cuda->streams->runtime->graph_begin(cuda->streams->compute)
                               : STATUS_OK;
}

static enum status close_segment(struct device_cuda *cuda)
{
    struct device_cuda_segments *segments = &cuda->step.segments;
    const struct cuda_streams *streams = cuda->streams;
    segments->open = false;
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
    const char *base = cuda->device.memory.cache;
    if (*count == step->extent_capacity)
        return fail(STATUS_INTERNAL, "the plan gave a step %d extents of keys; more came",
                    step->extent_capacity);
    step->host.extents[(*count)++] = (struct kernels_cuda_extent){
        .record = ((const char *)keys->records - base) / (int64_t)cuda->device.record_bytes +
                  (first - keys->first) / PANEL_TOKENS * keys->panel_records,
        .first = first,
        .end = end,
        .store = (int32_t)keys->store,
        .panel_records = keys->panel_records,
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
    const int64_t range_tokens = step->given.tokens->sequence.method->range_tokens;
    int64_t current = -2; /* of no range; -1 is the sinks' */
    int extents = 0;
    int ranges = 0;
    for (int k = 0; k < step->given.key_count; k++) {
        const struct device_keys *keys = &step->given.keys[k];
        for (int64_t first = keys->first; first < keys->end;) {
            const int64_t range = keys->store == BANDS_SINKS ? -1 : first / range_tokens;
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
        const int64_t index = given->tokens->first + r;
        const bool owned = ownership_owner(given->tokens->ownership, index) == given->rank;
        step->host.ids[r] = given->tokens->sequence.ids[index];
        step->host.indices[r] = index;
        step->host.records[r] =
            owned ? panel_table_slot(given->tokens->sequence.panels, index) : -1;
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

/* What is recorded holds for every token of a method; where sinks are kept, of a sequence. */
static void follow_recording(struct device_cuda *cuda, const struct device_step *given)
{
    struct device_cuda_segments *segments = &cuda->step.segments;
    const int64_t sinks_slot =
        given->tokens->sequence.sinks > 0 ? panel_table_sinks(given->tokens->sequence.panels) : -1;
    if (segments->sinks_slot == sinks_slot &&
        memcmp(&segments->method, given->tokens->sequence.method, sizeof segments->method) == 0)
        return;
    forget_recording(cuda);
    segments->sinks_slot = sinks_slot;
    memcpy(&segments->method, given->tokens->sequence.method, sizeof segments->method);
}

enum status device_cuda_step_begin(struct device *device, const struct device_step *given)
{
    struct device_cuda *cuda = device_cuda_of(device);
    struct device_cuda_step *step = &cuda->step;
    atomic_store(&cuda->skipping, false);
    step->given = *given;
    cuda->in_step = true;
    step->segments.next = 0;
    step->segments.open = false;
    step->segments.used =
        given->token && !device->times_parts && (cuda->device.group.workers == 1 || !given->split);
    if (step->segments.used)
        follow_recording(cuda, given);
    part_clock_forget(&cuda->clock);
    TRY(device_cuda_wait(cuda, cuda->lists_read, NULL));
    TRY(device_cuda_part(cuda, DEVICE_PART_STEP_QKV));
    TRY(send_lists(cuda));
    TRY(open_segment(cuda));
    return runs(cuda) ? device_cuda_tables(cuda, given->tokens->sequence.method,
                                           device->memory.step[LAYER_TABLES], step->there.indices,
                                           given->rows)
                      : STATUS_OK;
}

/* ---- ops ---- */

static struct device_cuda_rows rows_of_step(struct device_cuda *cuda)
{
    const struct device_cuda_step *step = &cuda->step;
    const struct device_step *given = &step->given;
    struct device_cuda_rows rows = {
        .cuda = cuda,
        .rows = given->rows,
        .method = given->tokens->sequence.method,
        .panels = given->tokens->sequence.panels,
        .sinks = given->tokens->sequence.sinks,
        .ids = step->there.ids,
        .indices = step->there.indices,
        .records = step->there.records,
        .query_frame_rows = given->rows,
        .table_frame_rows = given->rows,
        .in_step = true,
        .split = given->split,
        .rank = given->rank,
    };
    memcpy(rows.at, cuda->device.memory.step, sizeof rows.at);
    return rows;
}

enum status device_cuda_step_run(struct device_cuda *cuda, int first, int end)
{
    struct device_cuda_rows rows = rows_of_step(cuda);
    TRY(open_segment(cuda));
    return runs(cuda) ? device_cuda_ops(&rows, first, end) : STATUS_OK;
}

/* ---- attention ---- */

/* One state of a step's rows: acc, max and sum one behind the other. */
static float *state_of(const struct device_cuda *cuda, int rank)
{
    return cuda->device.memory.step[LAYER_STATE] +
           (int64_t)rank * cuda->step.given.rows * cuda->spec.heads * (cuda->spec.head_dim + 2);
}

/* Few rows: ranges of keys side by side, merged in order. */
static enum status attend_ranges(struct device_cuda *cuda, int layer)
{
    struct device_cuda_step *step = &cuda->step;
    const struct device_step *given = &step->given;
    float *partials = given->rows == 1 ? step->token_partials : step->partials;
    struct kernels_cuda_decode decode = {
        .bases = {device_record(&cuda->device, layer, 0)},
        .extents = step->there.extents,
        .split_first = step->there.split_first,
        .splits = splits_of(step),
        .index = step->there.indices,
        .queries = cuda->device.memory.step[LAYER_QUERIES],
        .frame_stride = given->rows * device_cuda_query_width(cuda),
        .states = partials,
        .rows = given->rows,
        .heads = cuda->spec.heads,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
        .scale_log2 = given->tokens->sequence.method->scale_log2,
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
    for (int head = 0; head < cuda->spec.kv_heads; head = decode.computed.end) {
        const struct sight_table *table =
            sight_of(&given->tokens->sequence.method->sight, layer, head);
        decode.regimes = &table->regimes;
        decode.computed = (struct kernels_cuda_heads){head, table->head_end};
        LAUNCH(cuda, attention_decode, &decode);
    }
    LAUNCH(cuda, attention_combine, &combine);
    return STATUS_OK;
}

/* Many rows: as a prefill attends, into the state itself. */
static enum status attend_rows(struct device_cuda *cuda, int layer, const struct device_keys *keys,
                               int count)
{
    const struct device_step *given = &cuda->step.given;
    const struct attention_span span = {0, given->tokens->first, given->rows};
    const int query = 0;
    const int64_t heads = given->rows * cuda->spec.heads;
    float *state = state_of(cuda, given->rank);
    const struct device_cuda_spans spans = {&span, &query, 1};
    const struct device_cuda_seen seen = {&given->tokens->sequence.method->sight, layer, keys,
                                          count};
    const struct kernels_cuda_prefill args = {
        .queries = cuda->device.memory.step[LAYER_QUERIES],
        .frame_stride = given->rows * device_cuda_query_width(cuda),
        .acc = state,
        .max = state + heads * cuda->spec.head_dim,
        .sum = state + heads * (cuda->spec.head_dim + 1),
        .first = true,
        .heads = cuda->spec.heads,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
        .scale_log2 = given->tokens->sequence.method->scale_log2,
    };
    return device_cuda_attend(cuda, &args, &spans, &seen);
}

enum status device_cuda_step_attend(struct device_cuda *cuda, int layer,
                                    const struct device_keys *keys, int count)
{
    if (runs(cuda)) {
        TRY(device_cuda_part(cuda, DEVICE_PART_STEP_ATTEND));
        if (cuda->step.given.rows <= FEW_ROWS)
            TRY(attend_ranges(cuda, layer));
        else
            TRY(attend_rows(cuda, layer, keys, count));
    }
    return cuda->device.group.workers == 1 ? STATUS_OK
                                           : close_segment(cuda); /* states are exchanged */
}

/* ---- logits ---- */

static enum status find_logits(struct device_cuda *cuda, int64_t row)
{
    const int64_t hidden = cuda->spec.hidden;
    struct device_cuda_rows asked = {
        .cuda = cuda,
        .rows = 1,
        .at = {[LAYER_NORMED] = cuda->device.memory.step[LAYER_NORMED] + row * hidden,
               [LAYER_LOGITS] = cuda->logits},
        .in_step = true,
        .split = cuda->step.given.split,
        .rank = cuda->step.given.rank,
    };
    return device_cuda_ops(&asked, cuda->program->logits, cuda->program->count);
}

enum status device_cuda_step_logits(struct device_cuda *cuda, int64_t row)
{
    cuda->logits_part = DEVICE_PART_STEP_LOGITS;
    TRY(open_segment(cuda));
    if (runs(cuda))
        TRY(find_logits(cuda, row));
    TRY(close_segment(cuda));
    return device_cuda_end_parts(cuda, NULL);
}
