/* The CPU device's stages with replicated queries, and decode. Promises that states cover fixed,
 * aligned ranges of keys and are merged in ascending order, whatever the number of threads. */
#include "worker/engine/device/device_cpu_step.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/device/device_cpu_ops.h"
#include "worker/engine/device/device_cpu_share.h"

/* Rows of tokens and heads that one reading of a range serves before arithmetic takes longer. */
enum { ROWS_READ_TOGETHER = 96 };

/* ---- memory ---- */

static float *floats(struct device_cpu *cpu, enum status *status, int64_t count)
{
    void *piece = NULL;
    if (*status == STATUS_OK)
        *status = arena_take(cpu->arenas[MEMORY_DECODE], &piece, (size_t)count * sizeof(float));
    return piece;
}

enum status device_cpu_step_prepare(struct device_cpu *cpu)
{
    struct device_cpu_step *step = &cpu->step;
    const struct layer_buffer_row *buffers = cpu->program->buffers;
    float **at = cpu->device.memory.step;
    const struct group_choice *group = &cpu->device.group;
    int64_t rows = group->step_rows;
    const int64_t ranges = MEMORY_RANGES_MOST;
    int64_t heads = rows * cpu->spec.heads;
    enum status status = STATUS_OK;
    const struct bands widest = layer_buffers_widest();
    for (int b = 0; b < LAYER_BUFFERS; b++)
        at[b] = floats(cpu, &status,
                       rows * layer_buffers_step_width(buffers, (enum layer_buffer)b, &widest,
                                                       group->workers));
    at[LAYER_ACTIVE] = at[LAYER_GATE];
    step->partial_acc = floats(cpu, &status, ranges * heads * cpu->spec.head_dim);
    step->partial_max = floats(cpu, &status, ranges * heads);
    step->partial_sum = floats(cpu, &status, ranges * heads);
    TRY(status);
    step->range_capacity = (int)(ranges * rows);
    step->ranges = calloc((size_t)step->range_capacity, sizeof *step->ranges);
    if (!step->ranges)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d key ranges",
                    step->range_capacity);
    return STATUS_OK;
}

void device_cpu_step_deinit(struct device_cpu *cpu)
{
    free(cpu->step.extents);
    free(cpu->step.ranges);
    memset(&cpu->step, 0, sizeof cpu->step);
}

/* ---- ops ---- */

static void merge_states(const struct device_cpu_rows *rows);

/* All rows, whoever they belong to. */
static struct device_cpu_rows rows_of_step(struct device_cpu *cpu)
{
    const struct device_cpu_step *step = &cpu->step;
    struct device_cpu_rows rows = {
        .cpu = cpu,
        .rows = step->given.rows,
        .rank = step->given.rank,
        .sum = step->partial_sum,
        .frame_rows = step->given.rows,
        .multiply = cpu->kernels->matmul_decode,
        .merge = merge_states,
    };
    memcpy(rows.at, cpu->device.memory.step, sizeof rows.at);
    rows.at[LAYER_STATE] = step->partial_acc; /* where those of all ranks are merged */
    return rows;
}

/* The rows of each sequence. */
static void make_parts(struct device_cpu *cpu)
{
    const struct device_step *given = &cpu->step.given;
    const struct device_cpu_rows all = rows_of_step(cpu);
    int64_t row = 0;
    for (int t = 0; t < given->count; t++) {
        const struct device_tokens *tokens = &given->tokens[t];
        struct device_cpu_rows *part = &cpu->step.parts[t];
        *part = device_cpu_share_slice(&all, row, tokens->rows);
        part->index = tokens->first;
        part->sequence = &tokens->sequence;
        part->ownership = tokens->ownership;
        row += tokens->rows;
    }
}

/* The columns of an op's output that this rank computes. */
static struct span columns_of(const struct device_cpu *cpu, const struct device_cpu_rows *rows,
                              const struct layer_op *op)
{
    const struct span all = device_cpu_all_of(rows, op);
    if (op->split == DECODE_SPLIT_LOGITS)
        return device_outputs(all.end, cpu->step.given.logit_places, cpu->step.given.logit_place);
    if (cpu->step.given.split & op->split)
        return device_outputs(all.end, cpu->device.group.workers, cpu->step.given.rank);
    return all;
}

void device_cpu_step_run(struct device_cpu *cpu, int first, int end)
{
    const struct device_cpu_share share = {rows_of_step(cpu), cpu->step.parts,
                                           cpu->step.given.count};
    while (first < end) {
        const struct layer_op *op = &cpu->program->ops[first];
        const int next = device_cpu_share_end(cpu->program, first, end);
        const int64_t start_ns = clock_now_ns();
        device_cpu_share_ops(&share, first, next, columns_of(cpu, &share.all, op), NULL);
        device_spent(&cpu->device, op->part, start_ns);
        first = next;
    }
}

/* The tables of one sequence's rows, from `row` of the step on. */
static void make_tables(struct device_cpu *cpu, const struct device_tokens *tokens, int64_t row,
                        enum layer_buffer buffer)
{
    const struct device_method *method = tokens->sequence.method;
    const struct spec_rotation *rotation =
        buffer == LAYER_TABLES ? &method->rotation : &method->other;
    const int64_t head_dim = cpu->spec.head_dim;
    float *tables = cpu->device.memory.step[buffer] + row * head_dim;
    for (int64_t done = 0; done < tokens->rows; done += KERNELS_ROWS_MAX) {
        const int64_t left = tokens->rows - done;
        device_cpu_tables(cpu, &tokens->sequence, rotation, tables + done * head_dim,
                          cpu->step.given.rows * head_dim, tokens->first + done,
                          left < KERNELS_ROWS_MAX ? left : KERNELS_ROWS_MAX);
    }
}

enum status device_cpu_step_begin(struct device *device, const struct device_step *given)
{
    struct device_cpu *cpu = device_cpu_of(device);
    cpu->step.given = *given;
    cpu->in_step = true;
    atomic_store(&cpu->skipping, false);
    int64_t row = 0;
    for (int t = 0; t < given->count; t++) {
        make_tables(cpu, &given->tokens[t], row, LAYER_TABLES);
        if (cpu->spec.other_rope)
            make_tables(cpu, &given->tokens[t], row, LAYER_OTHER_TABLES);
        row += given->tokens[t].rows;
    }
    make_parts(cpu);
    return STATUS_OK;
}

/* ---- attention ---- */

static enum status add_extent(struct device_cpu *cpu, int *count, const struct device_keys *extent)
{
    struct device_cpu_step *step = &cpu->step;
    if (*count == step->extent_capacity) {
        int capacity = step->extent_capacity ? 2 * step->extent_capacity : 64;
        void *larger = realloc(step->extents, (size_t)capacity * sizeof *step->extents);
        if (!larger)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d key extents",
                        capacity);
        step->extents = larger;
        step->extent_capacity = capacity;
    }
    step->extents[(*count)++] = *extent;
    return STATUS_OK;
}

static enum status add_range(struct device_cpu_step *step, const struct device_cpu_range *range)
{
    if (step->range_count == step->range_capacity)
        return fail(STATUS_INTERNAL, "the plan gave decode %d key ranges; more came",
                    step->range_capacity);
    step->ranges[step->range_count++] = *range;
    return STATUS_OK;
}

/* Cuts the extents of one sequence's keys at range boundaries: sinks are a range of their own.
 * `next` is where its first range begins. */
static enum status cut_ranges(struct device_cpu *cpu, const struct device_keys *keys,
                              struct device_cpu_range next, int *extents)
{
    struct device_cpu_step *step = &cpu->step;
    const struct device_tokens *tokens = next.tokens;
    const int64_t range_tokens = tokens->sequence.method->range_tokens;
    int64_t current = -2; /* of no range; -1 is the sinks' */
    for (int k = tokens->key_first; k < tokens->key_end; k++) {
        int64_t first = keys[k].first;
        while (first < keys[k].end) {
            int64_t range = keys[k].store == BANDS_SINKS ? -1 : first / range_tokens;
            int64_t end = range < 0 ? keys[k].end : (range + 1) * range_tokens;
            struct device_keys extent = keys[k];
            extent.first = first;
            extent.end = end < keys[k].end ? end : keys[k].end;
            extent.records =
                (const char *)keys[k].records +
                (size_t)((first - keys[k].first) / PANEL_TOKENS * keys[k].panel_records) *
                    cpu->device.record_bytes;
            if (range != current) {
                next.extent_first = *extents;
                TRY(add_range(step, &next));
                next.state += tokens->rows * cpu->spec.heads;
            }
            current = range;
            TRY(add_extent(cpu, extents, &extent));
            step->ranges[step->range_count - 1].extent_end = *extents;
            first = extent.end;
        }
    }
    return STATUS_OK;
}

/* Of all sequences. A range is read by all KV heads together, from end to end of memory; head by
 * head where there are too few ranges to share out evenly, and where so many rows see one that
 * arithmetic takes longer than reading. */
static enum status cut_all(struct device_cpu *cpu, const struct device_keys *keys)
{
    struct device_cpu_step *step = &cpu->step;
    struct device_cpu_range next = {0};
    int64_t most_rows = 0;
    int extents = 0;
    step->range_count = 0;
    for (int t = 0; t < step->given.count; t++) {
        const int before = step->range_count;
        next.tokens = &step->given.tokens[t];
        TRY(cut_ranges(cpu, keys, next, &extents));
        next.state += (step->range_count - before) * next.tokens->rows * cpu->spec.heads;
        next.row += next.tokens->rows;
        step->range_ends[t] = step->range_count;
        most_rows = next.tokens->rows > most_rows ? next.tokens->rows : most_rows;
    }
    step->by_head = step->range_count < 2 * cpu->device.threads ||
                    most_rows * cpu->spec.heads > ROWS_READ_TOGETHER;
    return STATUS_OK;
}

/* States of rows and heads: [states] each. */
struct states {
    float *acc, *max, *sum;
};

static void merge_into(const struct device_cpu *cpu, const struct states *into,
                       const struct states *other, int64_t states)
{
    const struct attention_merge_args args = {
        .acc = into->acc,
        .max = into->max,
        .sum = into->sum,
        .other_acc = other->acc,
        .other_max = other->max,
        .other_sum = other->sum,
        .rows = states,
        .head_dim = cpu->spec.head_dim,
    };
    cpu->kernels->attention_merge(&args);
}

static void clear_states(const struct device_cpu *cpu, const struct states *cleared, int64_t states)
{
    memset(cleared->acc, 0, (size_t)(states * cpu->spec.head_dim) * sizeof *cleared->acc);
    memset(cleared->sum, 0, (size_t)states * sizeof *cleared->sum);
    for (int64_t s = 0; s < states; s++)
        cleared->max[s] = -INFINITY;
}

/* From the one numbered `first` on. */
static struct states states_from(const struct states *states, int64_t head_dim, int64_t first)
{
    return (struct states){states->acc + first * head_dim, states->max + first,
                           states->sum + first};
}

/* Partial states of ranges, and where those of all ranks are merged. */
static struct states partial_states(const struct device_cpu *cpu)
{
    const struct device_cpu_step *step = &cpu->step;
    return (struct states){step->partial_acc, step->partial_max, step->partial_sum};
}

struct attend_job {
    struct device_cpu *cpu;
    int layer;
};

/* KV heads [head, head + heads), which see alike. */
static void attend_heads(const struct attend_job *job, int thread,
                         const struct device_cpu_range *range, int head, int heads)
{
    struct device_cpu *cpu = job->cpu;
    const struct device_cpu_step *step = &cpu->step;
    const struct model_spec *spec = &cpu->spec;
    const struct device_tokens *tokens = range->tokens;
    int group = spec->heads / spec->kv_heads;
    int64_t state = range->state + (int64_t)head * group;
    int64_t query = (range->row * spec->heads + (int64_t)head * group) * spec->head_dim;
    struct attention_args args = {
        .acc = step->partial_acc + state * spec->head_dim,
        .max = step->partial_max + state,
        .sum = step->partial_sum + state,
        .acc_stride = device_cpu_query_width(cpu),
        .row_stride = spec->heads,
        .queries = (char *)cpu->device.memory.step[LAYER_QUERIES] +
                   (size_t)query * device_cpu_operand_bytes(cpu),
        .frame_stride = step->given.rows * device_cpu_query_width(cpu),
        .query_stride = device_cpu_query_width(cpu),
        .query_first = tokens->first,
        .tokens = tokens->rows,
        .kv_heads = heads,
        .group = group,
        .head_dim = spec->head_dim,
        .record_stride = cpu->device.record_bytes,
        .regimes = &sight_of(&tokens->sequence.method->sight, job->layer, head)->regimes,
        .scale_log2 = tokens->sequence.method->scale_log2,
        .cap_log2 = tokens->sequence.method->cap_log2,
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    size_t head_bytes = cpu->device.record_bytes / (size_t)spec->kv_heads;
    for (int64_t r = 0; r < tokens->rows; r++) {
        const struct states partial = partial_states(cpu);
        const struct states cleared =
            states_from(&partial, spec->head_dim, state + r * spec->heads);
        clear_states(cpu, &cleared, (int64_t)heads * group);
    }
    for (int e = range->extent_first; e < range->extent_end; e++) {
        args.panels = (const char *)step->extents[e].records + (size_t)head * head_bytes;
        args.panel_stride = (size_t)step->extents[e].panel_records * cpu->device.record_bytes;
        args.key_first = step->extents[e].first;
        args.key_end = step->extents[e].end;
        args.store = step->extents[e].store;
        cpu->kernels->attention_decode(&args);
    }
}

static void attend_range(void *context, int thread, size_t item)
{
    const struct attend_job *job = context;
    const struct device_cpu_step *step = &job->cpu->step;
    const int kv_heads = job->cpu->spec.kv_heads;
    const int heads = step->by_head ? 1 : kv_heads;
    const int parts = kv_heads / heads;
    const struct device_cpu_range *range = &step->ranges[item / (size_t)parts];
    const struct sight *sight = &range->tokens->sequence.method->sight;
    const int end = ((int)(item % (size_t)parts) + 1) * heads;
    for (int head = end - heads; head < end;) {
        const int alike = sight_of(sight, job->layer, head)->head_end;
        const int next = alike < end ? alike : end;
        attend_heads(job, thread, range, head, next - head);
        head = next;
    }
}

/* A rank's state of all rows of the step: acc, max and sum one behind the other. */
static struct states states_of(const struct device_cpu *cpu, int rank)
{
    const int64_t states = cpu->step.given.rows * cpu->spec.heads;
    float *acc =
        cpu->device.memory.step[LAYER_STATE] + (int64_t)rank * states * (cpu->spec.head_dim + 2);
    float *max = acc + states * cpu->spec.head_dim;
    return (struct states){acc, max, max + states};
}

/* Merges the ranges of one sequence. */
static void merge_ranges(void *context, int thread, size_t item)
{
    const struct attend_job *job = context;
    const struct device_cpu *cpu = job->cpu;
    const struct device_cpu_step *step = &cpu->step;
    const int64_t heads = cpu->spec.heads;
    const int64_t head_dim = cpu->spec.head_dim;
    const struct states partial = partial_states(cpu);
    const struct states all = states_of(cpu, step->given.rank);
    const int64_t states = step->given.tokens[item].rows * heads;
    const struct states mine = states_from(&all, head_dim, step->parts[item].row * heads);
    (void)thread;
    clear_states(cpu, &mine, states);
    for (int r = item > 0 ? step->range_ends[item - 1] : 0; r < step->range_ends[item]; r++) {
        const struct states from = states_from(&partial, head_dim, step->ranges[r].state);
        merge_into(cpu, &mine, &from, states);
    }
}

enum status device_cpu_step_attend(struct device *device, int layer, const struct device_keys *keys,
                                   int count)
{
    struct device_cpu *cpu = device_cpu_of(device);
    const int64_t start_ns = clock_now_ns();
    struct device_cpu_step *step = &cpu->step;
    struct attend_job job = {cpu, layer};
    assert(count == step->given.key_count);
    TRY(cut_all(cpu, keys));
    const int items = step->range_count * (step->by_head ? cpu->spec.kv_heads : 1);
    thread_pool_run(cpu->pool, (size_t)items, attend_range, NULL, &job);
    thread_pool_run(cpu->pool, (size_t)step->given.count, merge_ranges, NULL, &job);
    device_spent(device, DEVICE_PART_STEP_ATTEND, start_ns);
    return STATUS_OK;
}

/* In rank order, from the empty state on. */
static void merge_states(const struct device_cpu_rows *rows)
{
    const struct device_cpu *cpu = rows->cpu;
    const int64_t first = rows->row * cpu->spec.heads;
    const int64_t states = rows->rows * cpu->spec.heads;
    const struct states partial = partial_states(cpu);
    const struct states merged = states_from(&partial, cpu->spec.head_dim, first);
    clear_states(cpu, &merged, states);
    for (int rank = 0; rank < cpu->step.given.ranks; rank++) {
        const struct states all = states_of(cpu, rank);
        const struct states own = states_from(&all, cpu->spec.head_dim, first);
        merge_into(cpu, &merged, &own, states);
    }
}

/* ---- logits ---- */

enum status device_cpu_step_logits(struct device *device, int64_t row, int64_t count)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    struct device_cpu_rows rows = rows_of_step(cpu);
    rows.rows = count;
    rows.at[LAYER_NORMED] += row * cpu->spec.hidden;
    rows.at[LAYER_LOGITS] = device->memory.logits;
    const struct layer_op *product = &cpu->program->ops[cpu->program->logits];
    device_cpu_joined(&rows, product, cpu->program->count - cpu->program->logits,
                      columns_of(cpu, &rows, product), NULL);
    device_spent(device, DEVICE_PART_STEP_LOGITS, start_ns);
    return STATUS_OK;
}
