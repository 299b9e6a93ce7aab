/* The CPU device's stages with replicated queries, and decode. Promises that states cover fixed,
 * aligned ranges of keys and are merged in ascending order, whatever the number of threads. */
#include "worker/engine/device/device_cpu_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/engine/device/device_cpu_ops.h"

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
    int64_t ranges = MEMORY_RANGES_MOST;
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
    step->range_first = calloc((size_t)ranges + 1, sizeof *step->range_first);
    if (!step->range_first)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %lld key ranges",
                    (long long)ranges);
    return STATUS_OK;
}

void device_cpu_step_deinit(struct device_cpu *cpu)
{
    free(cpu->step.extents);
    free(cpu->step.range_first);
    memset(&cpu->step, 0, sizeof cpu->step);
}

/* ---- ops ---- */

static struct device_cpu_rows rows_of_step(struct device_cpu *cpu)
{
    const struct device_cpu_step *step = &cpu->step;
    const struct device_step *given = &step->given;
    struct device_cpu_rows rows = {
        .cpu = cpu,
        .rows = given->rows,
        .index = given->first,
        .method = given->method,
        .panels = given->panels,
        .ids = given->ids,
        .sinks = given->sinks,
        .ownership = given->ownership,
        .rank = given->rank,
        .sum = step->partial_sum,
        .frame_rows = given->rows,
        .multiply = cpu->kernels->matmul_decode,
    };
    memcpy(rows.at, cpu->device.memory.step, sizeof rows.at);
    rows.at[LAYER_STATE] = step->partial_acc; /* where those of all ranks are merged */
    return rows;
}

/* Ops that go column by column, one after the other, for columns that threads share out. */
struct columns_job {
    const struct device_cpu_rows *rows;
    const struct layer_op *ops;
    int count;
    struct span columns;
    int64_t chunk;
};

static void columns_item(void *context, int thread, size_t item)
{
    const struct columns_job *job = context;
    const int64_t first = job->columns.first + (int64_t)item * job->chunk;
    const int64_t end =
        first + job->chunk < job->columns.end ? first + job->chunk : job->columns.end;
    for (int o = 0; o < job->count; o++)
        device_cpu_op(job->rows, &job->ops[o], thread, (struct span){first, end});
}

/* Ops [0, count) for this rank's columns: each takes them as the one before leaves them. */
static void run_joined(const struct device_cpu_rows *rows, const struct layer_op *ops, int count)
{
    struct device_cpu *cpu = rows->cpu;
    struct columns_job job = {.rows = rows, .ops = ops, .count = count};
    job.columns = device_cpu_all_of(rows, ops);
    if (cpu->step.given.split)
        job.columns =
            device_outputs(job.columns.end, cpu->device.group.workers, cpu->step.given.rank);
    int64_t granules = (job.columns.end - job.columns.first + MATMUL_SPLIT - 1) / MATMUL_SPLIT;
    int64_t items = 2 * cpu->device.threads;
    if (items > granules)
        items = granules;
    if (items == 0)
        return;
    job.chunk = (granules + items - 1) / items * MATMUL_SPLIT;
    items = (granules * MATMUL_SPLIT + job.chunk - 1) / job.chunk;
    thread_pool_run(cpu->pool, (size_t)items, columns_item, NULL, &job);
}

static void merge_states(struct device_cpu *cpu);

void device_cpu_step_run(struct device_cpu *cpu, int first, int end)
{
    const struct layer_op *ops = cpu->program->ops;
    const struct device_cpu_rows rows = rows_of_step(cpu);
    int64_t start_ns = clock_now_ns();
    while (first < end) {
        const struct layer_op *op = &ops[first++];
        while (first < end && ops[first].joined)
            first++;
        if (op->kind == LAYER_MIX)
            merge_states(cpu);
        if (op->place == LAYER_COLUMNS)
            run_joined(&rows, op, (int)(&ops[first] - op));
        else
            device_cpu_op(&rows, op, 0, device_cpu_all_of(&rows, op));
        if (first < end && ops[first].part == op->part)
            continue;
        device_spent(&cpu->device, op->part, start_ns);
        start_ns = clock_now_ns();
    }
}

enum status device_cpu_step_begin(struct device *device, const struct device_step *given)
{
    struct device_cpu *cpu = device_cpu_of(device);
    float *tables = device->memory.step[LAYER_TABLES];
    cpu->step.given = *given;
    cpu->in_step = true;
    atomic_store(&cpu->skipping, false);
    int64_t done = 0;
    while (done < given->rows) {
        int64_t left = given->rows - done;
        int64_t count = left < KERNELS_ROWS_MAX ? left : KERNELS_ROWS_MAX;
        device_cpu_tables(cpu, given->method, tables + done * cpu->spec.head_dim,
                          given->rows * cpu->spec.head_dim, given->first + done, count);
        done += count;
    }
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

/* Cuts the extents of keys at range boundaries, and says which extents each range has: sinks are a
 * range of their own. */
static enum status cut_ranges(struct device_cpu *cpu, const struct device_keys *keys, int count)
{
    struct device_cpu_step *step = &cpu->step;
    int64_t range_tokens = step->given.method->range_tokens;
    int64_t most = MEMORY_RANGES_MOST;
    int64_t current = -2; /* of no range; -1 is the sinks' */
    int extents = 0;
    step->ranges = 0;
    for (int k = 0; k < count; k++) {
        int64_t first = keys[k].first;
        while (first < keys[k].end) {
            int64_t range = keys[k].store == BANDS_SINKS ? -1 : first / range_tokens;
            int64_t end = range < 0 ? keys[k].end : (range + 1) * range_tokens;
            struct device_keys extent = keys[k];
            extent.first = first;
            extent.end = end < keys[k].end ? end : keys[k].end;
            extent.records =
                (const char *)keys[k].records +
                (size_t)((first - keys[k].first) / PANEL_TOKENS) * cpu->device.panel_bytes;
            if (range != current) {
                if (step->ranges == most)
                    return fail(STATUS_INTERNAL, "the plan gave decode %lld key ranges; more came",
                                (long long)most);
                step->range_first[step->ranges++] = extents;
            }
            current = range;
            TRY(add_extent(cpu, &extents, &extent));
            first = extent.end;
        }
    }
    step->range_first[step->ranges] = extents;
    return STATUS_OK;
}

/* A range is read by all KV heads together, from end to end of memory; head by head where there are
 * too few ranges to share out evenly, and where so many rows see it that arithmetic takes longer
 * than reading. */
static bool by_head(const struct device_cpu *cpu)
{
    return cpu->step.ranges < 2 * cpu->device.threads ||
           cpu->step.given.rows * cpu->spec.heads > ATTENTION_ROWS;
}

struct attend_job {
    struct device_cpu *cpu;
    const struct sight_table *sight; /* the layer's */
};

static void attend_range(void *context, int thread, size_t item)
{
    const struct attend_job *job = context;
    struct device_cpu *cpu = job->cpu;
    const struct device_cpu_step *step = &cpu->step;
    const struct model_spec *spec = &cpu->spec;
    const int heads = by_head(cpu) ? 1 : spec->kv_heads;
    const int64_t parts = spec->kv_heads / heads;
    const int64_t range = (int64_t)item / parts;
    const int64_t head = (int64_t)item % parts;
    int group = spec->heads / spec->kv_heads;
    int64_t state = range * step->given.rows * spec->heads + head * group;
    int64_t query = head * group * spec->head_dim;
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
        .query_first = step->given.first,
        .tokens = step->given.rows,
        .kv_heads = heads,
        .group = group,
        .head_dim = spec->head_dim,
        .panel_stride = cpu->device.panel_bytes,
        .regimes = &job->sight->regimes,
        .scale_log2 = step->given.method->scale_log2,
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    size_t head_bytes = cpu->device.panel_bytes / (size_t)spec->kv_heads;
    for (int extent = step->range_first[range]; extent < step->range_first[range + 1]; extent++) {
        args.panels = (const char *)step->extents[extent].records + (size_t)head * head_bytes;
        args.key_first = step->extents[extent].first;
        args.key_end = step->extents[extent].end;
        args.store = step->extents[extent].store;
        cpu->kernels->attention_decode(&args);
    }
}

/* One state of a step's rows: acc, max and sum one behind the other. */
static float *state_of(const struct device_cpu *cpu, int rank)
{
    return cpu->device.memory.step[LAYER_STATE] +
           (int64_t)rank * cpu->step.given.rows * cpu->spec.heads * (cpu->spec.head_dim + 2);
}

static void merge_into(const struct device_cpu *cpu, float *acc, float *max, float *sum,
                       const float *other_acc, const float *other_max, const float *other_sum)
{
    const struct attention_merge_args args = {
        .acc = acc,
        .max = max,
        .sum = sum,
        .other_acc = other_acc,
        .other_max = other_max,
        .other_sum = other_sum,
        .rows = cpu->step.given.rows * cpu->spec.heads,
        .head_dim = cpu->spec.head_dim,
    };
    cpu->kernels->attention_merge(&args);
}

static void clear_state(const struct device_cpu *cpu, float *acc, float *max, float *sum,
                        int64_t states)
{
    memset(acc, 0, (size_t)(states * cpu->spec.head_dim) * sizeof *acc);
    memset(sum, 0, (size_t)states * sizeof *sum);
    for (int64_t s = 0; s < states; s++)
        max[s] = -INFINITY;
}

enum status device_cpu_step_attend(struct device *device, int layer, const struct device_keys *keys,
                                   int count)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    struct device_cpu_step *step = &cpu->step;
    int64_t heads = step->given.rows * cpu->spec.heads;
    int64_t head_dim = cpu->spec.head_dim;
    struct attend_job job = {cpu, sight_of_layer(&step->given.method->sight, layer)};
    TRY(cut_ranges(cpu, keys, count));
    clear_state(cpu, step->partial_acc, step->partial_max, step->partial_sum, step->ranges * heads);
    const int items = step->ranges * (by_head(cpu) ? cpu->spec.kv_heads : 1);
    thread_pool_run(cpu->pool, (size_t)items, attend_range, NULL, &job);
    float *acc = state_of(cpu, step->given.rank);
    float *max = acc + heads * head_dim;
    float *sum = max + heads;
    clear_state(cpu, acc, max, sum, heads);
    for (int range = 0; range < step->ranges; range++)
        merge_into(cpu, acc, max, sum, step->partial_acc + range * heads * head_dim,
                   step->partial_max + range * heads, step->partial_sum + range * heads);
    device_spent(device, DEVICE_PART_STEP_ATTEND, start_ns);
    return STATUS_OK;
}

/* In rank order, from the empty state on. */
static void merge_states(struct device_cpu *cpu)
{
    const struct device_cpu_step *step = &cpu->step;
    const int64_t heads = step->given.rows * cpu->spec.heads;
    const int64_t head_dim = cpu->spec.head_dim;
    clear_state(cpu, step->partial_acc, step->partial_max, step->partial_sum, heads);
    for (int rank = 0; rank < cpu->device.group.workers; rank++) {
        const float *acc = state_of(cpu, rank);
        merge_into(cpu, step->partial_acc, step->partial_max, step->partial_sum, acc,
                   acc + heads * head_dim, acc + heads * (head_dim + 1));
    }
}

/* ---- logits ---- */

enum status device_cpu_step_logits(struct device *device, int64_t row)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    struct device_cpu_rows rows = rows_of_step(cpu);
    rows.rows = 1;
    rows.at[LAYER_NORMED] += row * cpu->spec.hidden;
    rows.at[LAYER_LOGITS] = device->memory.logits;
    run_joined(&rows, &cpu->program->ops[cpu->program->logits], 1);
    device_spent(device, DEVICE_PART_STEP_LOGITS, start_ns);
    return STATUS_OK;
}
