/* The CPU device's stages with replicated queries, and decode. Promises that states cover fixed,
 * aligned ranges of keys and are merged in ascending order, whatever the number of threads. */
#include "worker/engine/device/device_cpu_step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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
    const struct model_spec *spec = &cpu->spec;
    struct device_cpu_step *step = &cpu->step;
    struct device_memory *memory = &cpu->device.memory;
    struct bands bands;
    method_bands(&cpu->choice.request.method, &bands);
    int64_t rows = cpu->plan.replicated_rows;
    int64_t ranges = memory_plan_ranges(&cpu->choice);
    int64_t heads = rows * spec->heads;
    int64_t query_width = device_cpu_query_width(cpu);
    enum status status = STATUS_OK;
    step->hidden = floats(cpu, &status, rows * spec->hidden);
    step->normed = floats(cpu, &status, rows * spec->hidden);
    memory->delta = floats(cpu, &status, rows * spec->hidden);
    memory->qkv = floats(cpu, &status, rows * (query_width + 2 * device_cpu_key_width(cpu)));
    step->queries = floats(cpu, &status, bands.query_frames * rows * query_width);
    step->mixed = floats(cpu, &status, rows * query_width);
    memory->gate = floats(cpu, &status, rows * spec->ffn);
    step->up = floats(cpu, &status, rows * spec->ffn);
    step->tables = floats(cpu, &status, (bands.query_frames + 1) * rows * spec->head_dim);
    memory->states = floats(cpu, &status, cpu->choice.group.workers * heads * (spec->head_dim + 2));
    step->partial_acc = floats(cpu, &status, ranges * heads * spec->head_dim);
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

/* ---- products ---- */

/* Outputs [first, end) of matrices laid end to end, item by item. */
struct product_job {
    struct device_cpu *cpu;
    const struct matmul_weights *const *matrices;
    int matrix_count;
    float *y;         /* [rows, y_stride] */
    int64_t y_stride; /* of all matrices together, unless each has its own y */
    float *second_y;  /* gate and up share outputs: the second matrix's own y; otherwise NULL */
    const float *x;   /* [rows, in] */
    int64_t rows;
    struct span outputs;
    int64_t chunk;
};

static void multiply_part(const struct product_job *job, int thread, int matrix, float *y,
                          int64_t first, int64_t end)
{
    const struct matmul_args args = {
        .y = y,
        .y_stride = job->y_stride,
        .x = job->x,
        .x_stride = job->matrices[matrix]->in,
        .rows = job->rows,
        .weights = job->matrices[matrix],
        .out_first = first,
        .out_end = end,
        .scratch = device_cpu_kernel_scratch(job->cpu, thread),
    };
    if (first < end)
        job->cpu->kernels->matmul_decode(&args);
}

static void product_item(void *context, int thread, size_t item)
{
    const struct product_job *job = context;
    int64_t first = job->outputs.first + (int64_t)item * job->chunk;
    int64_t end = first + job->chunk < job->outputs.end ? first + job->chunk : job->outputs.end;
    if (job->second_y) {
        multiply_part(job, thread, 0, job->y, first, end);
        multiply_part(job, thread, 1, job->second_y, first, end);
        for (int64_t r = 0; r < job->rows; r++)
            job->cpu->kernels->swiglu(job->y + r * job->y_stride + first,
                                      job->second_y + r * job->y_stride + first, end - first);
        return;
    }
    int64_t base = 0;
    for (int m = 0; m < job->matrix_count; m++) {
        int64_t out = job->matrices[m]->out;
        int64_t from = first > base ? first - base : 0;
        int64_t to = end - base < out ? end - base : out;
        multiply_part(job, thread, m, job->y + base, from, to);
        base += out;
    }
}

static void run_product(struct product_job *job)
{
    int64_t granules = (job->outputs.end - job->outputs.first + MATMUL_SPLIT - 1) / MATMUL_SPLIT;
    int64_t items = 2 * job->cpu->device.threads;
    if (items > granules)
        items = granules;
    if (items == 0)
        return;
    job->chunk = (granules + items - 1) / items * MATMUL_SPLIT;
    items = (granules * MATMUL_SPLIT + job->chunk - 1) / job->chunk;
    thread_pool_run(job->cpu->pool, (size_t)items, product_item, NULL, job);
}

/* y [rows, out] = x [rows, in] times one matrix. */
static void multiply_one(struct device_cpu *cpu, float *y, const float *x,
                         const struct matmul_weights *matrix, int64_t rows, struct span outputs)
{
    struct product_job job = {
        .cpu = cpu,
        .matrices = &matrix,
        .matrix_count = 1,
        .y = y,
        .y_stride = matrix->out,
        .x = x,
        .rows = rows,
        .outputs = outputs,
    };
    run_product(&job);
}

/* What the layers before `layer` leave. */
static void look_at_hidden(struct device_cpu *cpu, int64_t layer)
{
    const struct device_cpu_step *step = &cpu->step;
    if (layer > 0)
        device_cpu_look(cpu, step->hidden, step->given.rows, cpu->spec.hidden, layer - 1,
                        NON_FINITE_OUTPUT, step->given.first);
}

/* hidden += delta, and its norm. */
static void add_and_norm(struct device_cpu *cpu, bool add, const float *weight)
{
    struct device_cpu_step *step = &cpu->step;
    int64_t count = step->given.rows * cpu->spec.hidden;
    for (int64_t i = 0; add && i < count; i++)
        step->hidden[i] += cpu->device.memory.delta[i];
    cpu->kernels->rmsnorm(step->normed, step->hidden, weight, step->given.rows, cpu->spec.hidden,
                          cpu->spec.norm_eps);
}

enum status device_cpu_step_begin(struct device *device, const struct device_step *given)
{
    struct device_cpu *cpu = device_cpu_of(device);
    struct device_cpu_step *step = &cpu->step;
    step->given = *given;
    step->ended = false;
    cpu->reach = bands_reach(given->bands);
    atomic_store(&cpu->skipping, false);
    int64_t done = 0;
    while (done < given->rows) {
        int64_t left = given->rows - done;
        int64_t count = left < KERNELS_ROWS_MAX ? left : KERNELS_ROWS_MAX;
        device_cpu_tables(cpu, given->bands, step->tables + done * cpu->spec.head_dim,
                          given->rows * cpu->spec.head_dim, given->first + done, count);
        done += count;
    }
    for (int64_t r = 0; r < given->rows; r++)
        cpu->kernels->matmul_row(step->hidden + r * cpu->spec.hidden, &cpu->weights->embedding,
                                 given->ids[given->first + r]);
    return STATUS_OK;
}

enum status device_cpu_step_qkv(struct device *device, int layer, struct span outputs)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    const struct weights_layer *weights = &cpu->weights->layers[layer];
    const struct matmul_weights *matrices[] = {&weights->attn_q, &weights->attn_k,
                                               &weights->attn_v};
    add_and_norm(cpu, layer > 0, weights->attn_norm);
    look_at_hidden(cpu, layer);
    struct product_job job = {
        .cpu = cpu,
        .matrices = matrices,
        .matrix_count = 3,
        .y = device->memory.qkv,
        .y_stride = device_cpu_query_width(cpu) + 2 * device_cpu_key_width(cpu),
        .x = cpu->step.normed,
        .rows = cpu->step.given.rows,
        .outputs = outputs,
    };
    run_product(&job);
    device_spent(device, DEVICE_PART_STEP_QKV, start_ns);
    return STATUS_OK;
}

/* ---- attention ---- */

static void rotate_and_store(struct device_cpu *cpu, int layer)
{
    const struct device_step *given = &cpu->step.given;
    int64_t query_width = device_cpu_query_width(cpu);
    int64_t key_width = device_cpu_key_width(cpu);
    int64_t width = query_width + 2 * key_width;
    int64_t head_dim = cpu->spec.head_dim;
    int frames = given->bands->query_frames;
    device_cpu_look(cpu, cpu->device.memory.qkv, given->rows, width, layer, NON_FINITE_INSIDE,
                    given->first);
    for (int frame = 0; frame < frames; frame++) {
        const struct rope_args rotation = {
            .out = (char *)cpu->step.queries +
                   (size_t)(frame * given->rows * query_width) * device_cpu_operand_bytes(cpu),
            .out_stride = query_width,
            .x = cpu->device.memory.qkv,
            .x_stride = width,
            .table = cpu->step.tables + frame * given->rows * head_dim,
            .tokens = given->rows,
            .heads = cpu->spec.heads,
            .head_dim = cpu->spec.head_dim,
        };
        cpu->kernels->rope_queries(&rotation);
    }
    for (int64_t r = 0; r < given->rows; r++) {
        float *keys = cpu->device.memory.qkv + r * width + query_width;
        const struct device_cpu_token token = {
            .keys = keys,
            .values = keys + key_width,
            .table = cpu->step.tables + (frames * given->rows + r) * head_dim,
            .index = given->first + r,
            .owned = ownership_owner(given->ownership, given->first + r) == given->rank,
            .sink = given->first + r < given->sinks,
        };
        if (token.owned || token.sink)
            device_cpu_store(cpu, given->cache, layer, &token);
    }
}

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
    int64_t range_tokens = memory_plan_range_tokens(&cpu->choice);
    int64_t most = memory_plan_ranges(&cpu->choice);
    int64_t current = -2; /* of no range; -1 is the sinks' */
    int extents = 0;
    step->ranges = 0;
    for (int k = 0; k < count; k++) {
        int64_t first = keys[k].first;
        while (first < keys[k].end) {
            int64_t range = keys[k].key_frame == 1 ? -1 : first / range_tokens;
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

static void attend_range(void *context, int thread, size_t item)
{
    struct device_cpu *cpu = context;
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
        .queries = (char *)step->queries + (size_t)query * device_cpu_operand_bytes(cpu),
        .frame_stride = step->given.rows * device_cpu_query_width(cpu),
        .query_stride = device_cpu_query_width(cpu),
        .query_first = step->given.first,
        .tokens = step->given.rows,
        .kv_heads = heads,
        .group = group,
        .head_dim = spec->head_dim,
        .panel_stride = cpu->device.panel_bytes,
        .bands = step->given.bands,
        .scale_log2 = device_scale_log2(&cpu->choice, cpu->spec.head_dim),
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    size_t head_bytes = cpu->device.panel_bytes / (size_t)spec->kv_heads;
    for (int extent = step->range_first[range]; extent < step->range_first[range + 1]; extent++) {
        args.panels = (const char *)step->extents[extent].records + (size_t)head * head_bytes;
        args.key_first = step->extents[extent].first;
        args.key_end = step->extents[extent].end;
        args.key_frame = step->extents[extent].key_frame;
        cpu->kernels->attention_decode(&args);
    }
}

/* One state of a step's rows: acc, max and sum one behind the other. */
static float *state_of(const struct device_cpu *cpu, int rank)
{
    return cpu->device.memory.states +
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
    rotate_and_store(cpu, layer);
    TRY(cut_ranges(cpu, keys, count));
    clear_state(cpu, step->partial_acc, step->partial_max, step->partial_sum, step->ranges * heads);
    const int items = step->ranges * (by_head(cpu) ? cpu->spec.kv_heads : 1);
    thread_pool_run(cpu->pool, (size_t)items, attend_range, NULL, cpu);
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

/* ---- after attention ---- */

enum status device_cpu_step_output(struct device *device, int layer, struct span outputs)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    struct device_cpu_step *step = &cpu->step;
    int64_t heads = step->given.rows * cpu->spec.heads;
    int64_t head_dim = cpu->spec.head_dim;
    clear_state(cpu, step->partial_acc, step->partial_max, step->partial_sum, heads);
    for (int rank = 0; rank < cpu->choice.group.workers; rank++) {
        const float *acc = state_of(cpu, rank);
        merge_into(cpu, step->partial_acc, step->partial_max, step->partial_sum, acc,
                   acc + heads * head_dim, acc + heads * (head_dim + 1));
    }
    cpu->kernels->attention_finish(step->mixed, step->partial_acc, step->partial_sum, heads,
                                   cpu->spec.head_dim);
    multiply_one(cpu, device->memory.delta, step->mixed, &cpu->weights->layers[layer].attn_output,
                 step->given.rows, outputs);
    device_spent(device, DEVICE_PART_STEP_OUTPUT, start_ns);
    return STATUS_OK;
}

enum status device_cpu_step_gate(struct device *device, int layer, struct span outputs)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    const struct weights_layer *weights = &cpu->weights->layers[layer];
    const struct matmul_weights *matrices[] = {&weights->ffn_gate, &weights->ffn_up};
    add_and_norm(cpu, true, weights->ffn_norm);
    struct product_job job = {
        .cpu = cpu,
        .matrices = matrices,
        .matrix_count = 2,
        .y = device->memory.gate,
        .y_stride = cpu->spec.ffn,
        .second_y = cpu->step.up,
        .x = cpu->step.normed,
        .rows = cpu->step.given.rows,
        .outputs = outputs,
    };
    run_product(&job);
    device_spent(device, DEVICE_PART_STEP_GATE, start_ns);
    return STATUS_OK;
}

enum status device_cpu_step_down(struct device *device, int layer, struct span outputs)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    multiply_one(cpu, device->memory.delta, device->memory.gate,
                 &cpu->weights->layers[layer].ffn_down, cpu->step.given.rows, outputs);
    device_spent(device, DEVICE_PART_STEP_DOWN, start_ns);
    return STATUS_OK;
}

enum status device_cpu_step_logits(struct device *device, int64_t row, struct span outputs)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    if (!cpu->step.ended) {
        add_and_norm(cpu, true, cpu->weights->output_norm);
        look_at_hidden(cpu, cpu->spec.layers);
    }
    cpu->step.ended = true;
    multiply_one(cpu, device->memory.logits, cpu->step.normed + row * cpu->spec.hidden,
                 &cpu->weights->output, 1, outputs);
    device_spent(device, DEVICE_PART_STEP_LOGITS, start_ns);
    return STATUS_OK;
}
