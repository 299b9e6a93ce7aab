/* Owns nothing: waiting for the device, and what stages and steps both put on its stream. Promises
 * that a wait ends, with a cause, on a device that has stopped. */
#include "worker/engine/device/device_cuda_parts.h"

#include <sched.h>

#include "proto/clock.h"

/* No piece of work between two waits of the host takes longer on a device that works. */
#define HANG_NS 300000000000

/* ---- memory ---- */

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

int64_t device_cuda_expanded_elements(const struct device_cuda *cuda)
{
    const struct model_spec *spec = &cuda->spec;
    return spec->hidden * larger(larger(spec->ffn, device_cuda_query_width(cuda)), 64);
}

/* ---- waiting ---- */

enum status device_cuda_wait(struct device_cuda *cuda, struct CUevent_st *event,
                             const struct device_drive *drive)
{
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    const int64_t begun_ns = clock_now_ns();
    bool done = false;
    if (!drive && cuda->device.waiting.call)
        drive = &cuda->device.waiting;
    TRY(runtime->event_query(event, &done));
    atomic_store(&cuda->active_ns, begun_ns);
    atomic_store(&cuda->busy, !done);
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !done) {
        if (drive)
            drive->call(drive->context);
        sched_yield();
        status = runtime->event_query(event, &done);
        if (status == STATUS_OK && clock_now_ns() - begun_ns > HANG_NS)
            status = fail(STATUS_UNAVAILABLE,
                          "GPU %d has not finished its work for %d s: end the group, and look at "
                          "the device with nvidia-smi",
                          cuda->streams->device, (int)(HANG_NS / 1000000000));
    }
    atomic_store(&cuda->busy, false);
    return status;
}

enum status device_cuda_settle(struct device_cuda *cuda, const struct device_drive *drive)
{
    TRY(cuda->streams->runtime->event_record(cuda->reached, cuda->streams->compute));
    return device_cuda_wait(cuda, cuda->reached, drive);
}

enum status device_cuda_part(struct device_cuda *cuda, enum device_part part)
{
    return cuda->device.times_parts ? part_clock_begin(&cuda->clock, part) : STATUS_OK;
}

enum status device_cuda_end_parts(struct device_cuda *cuda, const struct device_drive *drive)
{
    if (!cuda->device.times_parts)
        return STATUS_OK;
    TRY(part_clock_begin(&cuda->clock, DEVICE_PARTS));
    TRY(device_cuda_settle(cuda, drive));
    return part_clock_read(&cuda->clock, cuda->device.part_seconds);
}

enum status device_cuda_copy(struct device_cuda *cuda, void *to, const void *from, size_t bytes)
{
    return cuda->streams->runtime->copy(to, from, bytes, cuda->streams->compute);
}

/* ---- what stages and steps share ---- */

enum status device_cuda_multiply(struct device_cuda *cuda, float *y, int64_t y_stride,
                                 const void *x, const struct kernels_cuda_matrix *matrix,
                                 int64_t rows, bool accumulate)
{
    const bool expands = matrix->dtype != DEVICE_CUDA_OPERAND;
    int64_t part = matrix->out;
    if (expands && part * matrix->in > device_cuda_expanded_elements(cuda))
        part = device_cuda_expanded_elements(cuda) / matrix->in / PANEL_TOKENS * PANEL_TOKENS;
    for (int64_t first = 0; first < matrix->out; first += part) {
        const int64_t end = first + part < matrix->out ? first + part : matrix->out;
        const struct kernels_cuda_dequantize expand = {
            .out = cuda->expanded,
            .operand = DEVICE_CUDA_OPERAND,
            .matrix = *matrix,
            .first = first,
            .end = end,
        };
        if (expands)
            LAUNCH(cuda, dequantize, &expand);
        const struct cuda_product product = {
            .y = y + first,
            .y_stride = y_stride,
            .x = x,
            .w = expands ? cuda->expanded : matrix->rows,
            .operand = DEVICE_CUDA_OPERAND,
            .rows = rows,
            .out = end - first,
            .in = matrix->in,
            .accumulate = accumulate,
            .workspace = cuda->workspace,
            .workspace_bytes = cuda->streams->runtime->workspace_bytes,
        };
        TRY(cuda->streams->runtime->product(&product, cuda->streams->compute));
    }
    return STATUS_OK;
}

/* The extents of keys[*next ..] that apply to spans [0, span_count), as many as one call takes. */
static int gather_extents(struct attention_extent *extents, const int *span_queries, int span_count,
                          const struct device_keys *keys, int key_count, int *next)
{
    int count = 0;
    for (; *next < key_count && count < ATTENTION_EXTENTS_MAX; ++*next) {
        const struct device_keys *extent = &keys[*next];
        int first = 0;
        while (first < span_count && span_queries[first] < extent->query_first)
            first++;
        int end = first;
        while (end < span_count && span_queries[end] < extent->query_end)
            end++;
        if (first == end)
            continue;
        extents[count++] = (struct attention_extent){
            .records = extent->records,
            .first = extent->first,
            .end = extent->end,
            .store = (int32_t)extent->store,
            .panel_records = extent->panel_records,
            .span_first = first,
            .span_end = end,
        };
    }
    return count;
}

/* Heads that see alike, `part` says which and what, and some spans. */
static enum status attend_spans(struct device_cuda *cuda, struct kernels_cuda_prefill part,
                                const int *span_queries, const struct device_cuda_seen *seen)
{
    struct attention_extent extents[ATTENTION_EXTENTS_MAX];
    part.extents = extents;
    int next = 0;
    do {
        part.extent_count =
            gather_extents(extents, span_queries, part.span_count, seen->keys, seen->count, &next);
        if (part.extent_count > 0 || part.first)
            LAUNCH(cuda, attention_prefill, &part);
        part.first = false;
    } while (next < seen->count);
    return STATUS_OK;
}

enum status device_cuda_attend(struct device_cuda *cuda, const struct kernels_cuda_prefill *args,
                               const struct device_cuda_spans *spans,
                               const struct device_cuda_seen *seen)
{
    struct kernels_cuda_prefill part = *args;
    for (int head = 0; head < args->kv_heads; head = part.computed.end) {
        const struct sight_table *table = sight_of(seen->sight, seen->layer, head);
        part.regimes = &table->regimes;
        part.computed = (struct kernels_cuda_heads){head, table->head_end};
        for (int first = 0; first < spans->count; first += ATTENTION_SPANS_MAX) {
            const int left = spans->count - first;
            part.spans = spans->spans + first;
            part.span_count = left < ATTENTION_SPANS_MAX ? left : ATTENTION_SPANS_MAX;
            TRY(attend_spans(cuda, part, spans->queries + first, seen));
        }
    }
    return STATUS_OK;
}
