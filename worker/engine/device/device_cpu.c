/* Owns one rank's weights and memory on the host, and its threads. Promises that a row's numbers do
 * not depend on the number of threads, on the cutting into blocks and tiles, or on the order in
 * which they are done. */
#include "worker/engine/device/device_cpu.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/engine/device/device_cpu_parts.h"
#include "worker/engine/device/device_cpu_step.h"

/* Rows that keep a block's products efficient. */
enum { BLOCK_STEP = 48 };

/* ---- making ---- */

static enum status choose_kernels(const struct kernels **kernels, const char *name)
{
    *kernels = name ? kernels_find(name) : kernels_best();
    if (!*kernels)
        return fail(STATUS_INVALID_ARGUMENT,
                    "there are no kernels called \"%s\"; `longhaul doctor` lists them", name);
    if (!kernels_runs_here(*kernels))
        return fail(STATUS_INVALID_ARGUMENT,
                    "kernels %s need instructions that this CPU does not have; `longhaul doctor` "
                    "lists those that run here",
                    name);
    return STATUS_OK;
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What the planner must know of this device; needs spec, kernels and the thread count. */
static void describe(struct device_cpu *cpu, const struct model *model)
{
    const struct model_spec *spec = &cpu->spec;
    struct device *device = &cpu->device;
    int64_t query_width = device_cpu_query_width(cpu);
    int64_t key_width = device_cpu_key_width(cpu);
    const struct kernels_limits limits = {
        .rows = KERNELS_ROWS_MAX,
        .width_max = larger(larger(spec->hidden, query_width), spec->ffn),
        .head_dim = spec->head_dim,
        .group = spec->heads / spec->kv_heads,
    };
    int64_t row_width = spec->hidden + larger(query_width + 2 * key_width, 2 * (int64_t)spec->ffn);
    cpu->row_bytes = arena_rounded((size_t)(KERNELS_ROWS_MAX * row_width) * sizeof(float));
    cpu->scratch_bytes = cpu->row_bytes + arena_rounded(cpu->kernels->scratch_bytes(&limits));
    device->shape = spec_shape(spec, (int64_t)weights_bytes(model, cpu->kernels));
    device->needs = (struct memory_request){
        .threads = cpu->binding.threads,
        .scratch_bytes = (int64_t)cpu->scratch_bytes,
        .logit_rows = DEVICE_CPU_LOGIT_ROWS,
    };
    device->cache = cpu->kernels->cache == DTYPE_F32 ? CHOICE_CACHE_F32 : CHOICE_CACHE_BF16;
    device->kernels = cpu->kernels->name;
    device->panel_bytes =
        attention_panel_bytes(cpu->kernels->cache, spec->kv_heads, spec->head_dim);
    device->threads = cpu->binding.threads;
    device->on_host = true;
    device->blocks = 8 * (int64_t)cpu->binding.threads;
    device->attend_most = INT_MAX;
    device->block_rows = KERNELS_ROWS_MAX;
    device->block_step = BLOCK_STEP;
    device->tile_tokens = attention_query_tokens(spec->heads / spec->kv_heads);
    char line[160];
    binding_facts(&cpu->binding, line, sizeof line);
    snprintf(device->facts, sizeof device->facts, "device=cpu kernels=%s %s", cpu->kernels->name,
             line);
}

static void release_memory(struct device_cpu *cpu)
{
    device_cpu_step_deinit(cpu);
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        arena_destroy(cpu->arenas[region]);
        cpu->arenas[region] = NULL;
    }
}

static void destroy(struct device *device)
{
    struct device_cpu *cpu = device_cpu_of(device);
    release_memory(cpu);
    thread_pool_destroy(cpu->pool);
    weights_destroy(cpu->weights);
    free(cpu);
}

/* ---- memory ---- */

static enum status take(struct device_cpu *cpu, void *piece, enum memory_region region,
                        size_t bytes)
{
    void *memory;
    TRY(arena_take(cpu->arenas[region], &memory, bytes));
    memcpy(piece, &memory, sizeof memory);
    return STATUS_OK;
}

static enum status take_all(struct device_cpu *cpu)
{
    const struct model_spec *spec = &cpu->spec;
    const struct memory_plan *plan = &cpu->plan;
    size_t rows = (size_t)plan->rows;
    size_t heads = rows * (size_t)spec->heads;
    struct device_memory *memory = &cpu->device.memory;
    const int64_t *bytes = plan->bytes;
    TRY(take(cpu, &memory->cache, MEMORY_CACHE, (size_t)bytes[MEMORY_CACHE]));
    TRY(take(cpu, &memory->slots, MEMORY_RECEIVE_SLOTS, (size_t)bytes[MEMORY_RECEIVE_SLOTS]));
    TRY(take(cpu, &cpu->sinks, MEMORY_SINK_CACHE, (size_t)bytes[MEMORY_SINK_CACHE]));
    TRY(take(cpu, &cpu->hidden, MEMORY_HIDDEN, (size_t)bytes[MEMORY_HIDDEN]));
    TRY(take(cpu, &cpu->queries, MEMORY_QUERIES, (size_t)bytes[MEMORY_QUERIES]));
    TRY(take(cpu, &cpu->tables, MEMORY_ROPE_TABLES, (size_t)bytes[MEMORY_ROPE_TABLES]));
    TRY(take(cpu, &cpu->scratch, MEMORY_THREAD_SCRATCH, (size_t)bytes[MEMORY_THREAD_SCRATCH]));
    TRY(take(cpu, &cpu->acc, MEMORY_STATE, (size_t)bytes[MEMORY_STATE]));
    cpu->max = cpu->acc + heads * (size_t)spec->head_dim;
    cpu->sum = cpu->max + heads;
    TRY(take(cpu, &cpu->logit_rows, MEMORY_LOGITS, (size_t)bytes[MEMORY_LOGITS]));
    cpu->logit_normed = cpu->logit_rows + (size_t)DEVICE_CPU_LOGIT_ROWS * (size_t)spec->vocab;
    memory->logits = cpu->logit_rows;
    return device_cpu_step_prepare(cpu);
}

static enum status prepare(struct device *device, const struct choice *choice,
                           const struct memory_plan *plan)
{
    struct device_cpu *cpu = device_cpu_of(device);
    enum status status = STATUS_OK;
    release_memory(cpu);
    cpu->choice = *choice;
    cpu->plan = *plan;
    spec_rotation_make(&cpu->rotation, &cpu->spec, &choice->request.method.frequencies,
                       method_logn(&choice->request.method));
    for (int region = 0; region < MEMORY_REGIONS; region++) {
        if (region == MEMORY_WEIGHTS || region == MEMORY_IDS || region == MEMORY_SCORES)
            continue;
        TRY_ELSE(arena_create(&cpu->arenas[region], memory_region_name(region),
                              (size_t)plan->bytes[region]),
                 release);
    }
    TRY_ELSE(take_all(cpu), release);
    return STATUS_OK;
release:
    release_memory(cpu);
    return status;
}

static void *sink_records(struct device *device, int layer, bool near)
{
    return device_cpu_sinks(device_cpu_of(device), layer, near);
}

static enum status move(struct device *device, void *to, const void *from, size_t bytes)
{
    (void)device;
    memcpy(to, from, bytes);
    return STATUS_OK;
}

static enum status clear(struct device *device, void *memory, size_t bytes)
{
    (void)device;
    memset(memory, 0, bytes);
    return STATUS_OK;
}

/* ---- a stage with sharded queries ---- */

static void begin_block(void *context, int thread, size_t item)
{
    struct device_cpu *cpu = context;
    const struct shard_block *block = &cpu->stage.shard->blocks[item];
    int64_t row_width = cpu->spec.head_dim;
    (void)thread;
    device_cpu_tables(cpu, cpu->stage.bands, cpu->tables + block->row * row_width,
                      cpu->plan.rows * row_width, block->index, block->rows);
    for (int64_t r = 0; r < block->rows; r++)
        cpu->kernels->matmul_row(cpu->hidden + (block->row + r) * cpu->spec.hidden,
                                 &cpu->weights->embedding, cpu->stage.ids[block->index + r]);
}

static enum status begin(struct device *device, const struct device_stage *stage)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    cpu->stage = *stage;
    cpu->reach = bands_reach(stage->bands);
    atomic_store(&cpu->skipping, false);
    thread_pool_run(cpu->pool, (size_t)stage->shard->block_count, begin_block, NULL, cpu);
    device_spent(device, DEVICE_PART_ROWS, start_ns);
    return STATUS_OK;
}

static void multiply(const struct device_cpu *cpu, int thread, float *y,
                     const struct matmul_weights *weights, const float *x, int64_t rows,
                     bool accumulate)
{
    const struct matmul_args args = {
        .y = y,
        .y_stride = weights->out,
        .x = x,
        .x_stride = weights->in,
        .rows = rows,
        .weights = weights,
        .out_end = weights->out,
        .accumulate = accumulate,
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    cpu->kernels->matmul_prefill(&args);
}

/* Ends a layer for a block of rows: output projection and MLP, added to the residual stream. */
static void end_layer(struct device_cpu *cpu, int thread, int layer,
                      const struct shard_block *block, float *normed, float *wide)
{
    const struct weights_layer *weights = &cpu->weights->layers[layer];
    const struct model_spec *spec = &cpu->spec;
    int64_t heads = block->row * spec->heads;
    float *hidden = cpu->hidden + block->row * spec->hidden;
    float *gate = wide;                         /* [rows, ffn] */
    float *up = wide + block->rows * spec->ffn; /* [rows, ffn] */
    cpu->kernels->attention_finish(wide, cpu->acc + heads * spec->head_dim, cpu->sum + heads,
                                   block->rows * spec->heads, spec->head_dim);
    multiply(cpu, thread, hidden, &weights->attn_output, wide, block->rows, true);
    cpu->kernels->rmsnorm(normed, hidden, weights->ffn_norm, block->rows, spec->hidden,
                          spec->norm_eps);
    multiply(cpu, thread, gate, &weights->ffn_gate, normed, block->rows, false);
    multiply(cpu, thread, up, &weights->ffn_up, normed, block->rows, false);
    cpu->kernels->swiglu(gate, up, block->rows * spec->ffn);
    multiply(cpu, thread, hidden, &weights->ffn_down, gate, block->rows, true);
    device_cpu_look(cpu, hidden, block->rows, spec->hidden, layer, NON_FINITE_OUTPUT, block->index);
}

static void rotate_queries(const struct device_cpu *cpu, const struct shard_block *block,
                           const float *q)
{
    int64_t width = device_cpu_query_width(cpu);
    for (int frame = 0; frame < cpu->stage.bands->query_frames; frame++) {
        int64_t row = frame * cpu->plan.rows + block->row;
        const struct rope_args rotation = {
            .out = cpu->queries + (size_t)(row * width) * device_cpu_operand_bytes(cpu),
            .out_stride = width,
            .x = q,
            .x_stride = width,
            .table = cpu->tables + row * cpu->spec.head_dim,
            .tokens = block->rows,
            .heads = cpu->spec.heads,
            .head_dim = cpu->spec.head_dim,
        };
        cpu->kernels->rope_queries(&rotation);
    }
}

/* Begins a layer for a block of rows: q in every frame, k and v into the cache, an empty state. */
static void begin_layer(struct device_cpu *cpu, int thread, int layer,
                        const struct shard_block *block, float *normed, float *wide)
{
    const struct weights_layer *weights = &cpu->weights->layers[layer];
    const struct model_spec *spec = &cpu->spec;
    int64_t key_width = device_cpu_key_width(cpu);
    float *q = wide;                                          /* [rows, heads, head_dim] */
    float *k = q + block->rows * device_cpu_query_width(cpu); /* [rows, kv_heads, head_dim] */
    float *v = k + block->rows * key_width;                   /* [rows, kv_heads, head_dim] */
    cpu->kernels->rmsnorm(normed, cpu->hidden + block->row * spec->hidden, weights->attn_norm,
                          block->rows, spec->hidden, spec->norm_eps);
    multiply(cpu, thread, q, &weights->attn_q, normed, block->rows, false);
    multiply(cpu, thread, k, &weights->attn_k, normed, block->rows, false);
    multiply(cpu, thread, v, &weights->attn_v, normed, block->rows, false);
    device_cpu_look(cpu, q, block->rows, device_cpu_query_width(cpu), layer, NON_FINITE_INSIDE,
                    block->index);
    device_cpu_look(cpu, k, block->rows, key_width, layer, NON_FINITE_INSIDE, block->index);
    device_cpu_look(cpu, v, block->rows, key_width, layer, NON_FINITE_INSIDE, block->index);
    rotate_queries(cpu, block, q);
    const float *key_tables =
        cpu->tables +
        (cpu->stage.bands->query_frames * cpu->plan.rows + block->row) * spec->head_dim;
    for (int64_t r = 0; r < block->rows; r++) {
        const struct device_cpu_token token = {
            .keys = k + r * key_width,
            .values = v + r * key_width,
            .table = key_tables + r * spec->head_dim,
            .index = block->index + r,
            .owned = !block->recomputed,
            .sink = block->index + r < cpu->stage.sinks,
        };
        device_cpu_store(cpu, cpu->stage.cache, layer, &token);
    }
    int64_t heads = block->row * spec->heads;
    int64_t count = block->rows * spec->heads;
    memset(cpu->acc + heads * spec->head_dim, 0,
           (size_t)(count * spec->head_dim) * sizeof *cpu->acc);
    memset(cpu->sum + heads, 0, (size_t)count * sizeof *cpu->sum);
    for (int64_t h = 0; h < count; h++)
        cpu->max[heads + h] = -INFINITY;
}

struct rows_job {
    struct device_cpu *cpu;
    int layer;
    const struct device_drive *drive;
};

static void rows_block(void *context, int thread, size_t item)
{
    struct rows_job *job = context;
    struct device_cpu *cpu = job->cpu;
    int which = cpu->stage.shard->sequence[item];
    const struct shard_block *block = &cpu->stage.shard->blocks[which];
    float *normed = (float *)(void *)(cpu->scratch + (size_t)thread * cpu->scratch_bytes);
    float *wide = normed + block->rows * cpu->spec.hidden;
    if (job->layer > 0)
        end_layer(cpu, thread, job->layer - 1, block, normed, wide);
    if (job->layer < cpu->spec.layers)
        begin_layer(cpu, thread, job->layer, block, normed, wide);
    atomic_store(&cpu->stage.shard->done[which], true);
}

static void rows_between(void *context)
{
    struct rows_job *job = context;
    job->drive->call(job->drive->context);
}

static enum status rows(struct device *device, int layer, const struct device_drive *drive)
{
    struct device_cpu *cpu = device_cpu_of(device);
    struct shard_rows *shard = cpu->stage.shard;
    struct rows_job job = {cpu, layer, drive};
    int64_t start_ns = clock_now_ns();
    bool all = false;
    if (!atomic_load(&cpu->skipping))
        all =
            thread_pool_run(cpu->pool, (size_t)shard->block_count, rows_block, rows_between, &job);
    if (!all)
        for (int b = 0; b < shard->block_count; b++)
            atomic_store(&shard->done[b], true);
    device_spent(device, DEVICE_PART_ROWS, start_ns);
    return STATUS_OK;
}

struct attend_job {
    struct device_cpu *cpu;
    const struct device_keys *keys;
    int count;
    const struct device_drive *drive;
};

static int64_t panel_floor(int64_t index)
{
    return index > 0 ? index / PANEL_TOKENS * PANEL_TOKENS : 0;
}

/* One tile of queries to one extent of keys, cut to the panels that the tile can see. */
static void attend_extent(struct device_cpu *cpu, struct attention_args *args,
                          const struct device_keys *keys, int head)
{
    int64_t first = keys->first;
    int64_t end = keys->end;
    int64_t last_query = args->query_first + args->tokens;
    if (end > last_query)
        end = last_query;
    if (keys->key_frame == 0 && cpu->reach != BANDS_OPEN &&
        panel_floor(args->query_first - cpu->reach + 1) > first)
        first = panel_floor(args->query_first - cpu->reach + 1);
    if (first >= end)
        return;
    size_t skipped = (size_t)((first - keys->first) / PANEL_TOKENS) * cpu->device.panel_bytes;
    size_t head_bytes = cpu->device.panel_bytes / (size_t)cpu->spec.kv_heads;
    args->panels = (const char *)keys->records + skipped + (size_t)head * head_bytes;
    args->key_first = first;
    args->key_end = end;
    args->key_frame = keys->key_frame;
    cpu->kernels->attention_prefill(args);
}

static void attend_tile(void *context, int thread, size_t item)
{
    const struct attend_job *job = context;
    struct device_cpu *cpu = job->cpu;
    const struct model_spec *spec = &cpu->spec;
    int head = (int)(item % (size_t)spec->kv_heads);
    size_t back = item / (size_t)spec->kv_heads; /* late queries see most, and go first */
    const struct shard_tile *tile =
        &cpu->stage.shard->tiles[(size_t)cpu->stage.shard->tile_count - 1 - back];
    int group = spec->heads / spec->kv_heads;
    int64_t row_head = tile->row * spec->heads + (int64_t)head * group;
    struct attention_args args = {
        .acc = cpu->acc + row_head * spec->head_dim,
        .max = cpu->max + row_head,
        .sum = cpu->sum + row_head,
        .acc_stride = device_cpu_query_width(cpu),
        .row_stride = spec->heads,
        .queries =
            cpu->queries + (size_t)(row_head * spec->head_dim) * device_cpu_operand_bytes(cpu),
        .frame_stride = cpu->plan.rows * device_cpu_query_width(cpu),
        .query_stride = device_cpu_query_width(cpu),
        .query_first = tile->index,
        .tokens = tile->tokens,
        .kv_heads = 1,
        .group = group,
        .head_dim = spec->head_dim,
        .panel_stride = cpu->device.panel_bytes,
        .bands = cpu->stage.bands,
        .scale_log2 = device_scale_log2(&cpu->choice, cpu->spec.head_dim),
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    for (int k = 0; k < job->count; k++)
        if (tile->query >= job->keys[k].query_first && tile->query < job->keys[k].query_end)
            attend_extent(cpu, &args, &job->keys[k], head);
}

static void attend_between(void *context)
{
    const struct attend_job *job = context;
    job->drive->call(job->drive->context);
}

static enum status attend(struct device *device, int layer, const struct device_keys *keys,
                          int count, const struct device_drive *drive)
{
    struct device_cpu *cpu = device_cpu_of(device);
    struct attend_job job = {cpu, keys, count, drive};
    int64_t start_ns = clock_now_ns();
    (void)layer;
    if (!atomic_load(&cpu->skipping))
        thread_pool_run(cpu->pool,
                        (size_t)cpu->stage.shard->tile_count * (size_t)cpu->spec.kv_heads,
                        attend_tile, attend_between, &job);
    device_spent(device, DEVICE_PART_ATTEND, start_ns);
    return STATUS_OK;
}

/* ---- logits ---- */

struct logits_job {
    struct device_cpu *cpu;
    int64_t row;
    int64_t rows;
    int64_t chunk;   /* outputs of an item */
    int64_t tokens;  /* of the whole sequence */
    float *logprobs; /* of the job's rows */
    int64_t index;   /* of its first row */
};

static void logits_chunk(void *context, int thread, size_t item)
{
    const struct logits_job *job = context;
    const struct matmul_weights *weights = &job->cpu->weights->output;
    int64_t first = (int64_t)item * job->chunk;
    const struct matmul_args args = {
        .y = job->cpu->logit_rows,
        .y_stride = weights->out,
        .x = job->cpu->logit_normed,
        .x_stride = weights->in,
        .rows = job->rows,
        .weights = weights,
        .out_first = first,
        .out_end = first + job->chunk < weights->out ? first + job->chunk : weights->out,
        .scratch = device_cpu_kernel_scratch(job->cpu, thread),
    };
    job->cpu->kernels->matmul_prefill(&args);
}

static void logits_rows(struct logits_job *job)
{
    struct device_cpu *cpu = job->cpu;
    const struct model_spec *spec = &cpu->spec;
    job->chunk = larger(spec->vocab / (8 * cpu->device.threads) / 64 * 64, 64);
    cpu->kernels->rmsnorm(cpu->logit_normed, cpu->hidden + job->row * spec->hidden,
                          cpu->weights->output_norm, job->rows, spec->hidden, spec->norm_eps);
    thread_pool_run(cpu->pool, (size_t)((spec->vocab + job->chunk - 1) / job->chunk), logits_chunk,
                    NULL, job);
}

static void score_row(void *context, int thread, size_t item)
{
    const struct logits_job *job = context;
    int64_t index = job->index + (int64_t)item;
    const float *logits = job->cpu->logit_rows + (int64_t)item * job->cpu->spec.vocab;
    (void)thread;
    if (index + 1 < job->tokens)
        job->logprobs[item] = (float)(logits[job->cpu->stage.ids[index + 1]] -
                                      job->cpu->kernels->logsumexp(logits, job->cpu->spec.vocab));
}

static enum status score(struct device *device, float *logprobs, int64_t tokens,
                         const struct device_drive *drive)
{
    struct device_cpu *cpu = device_cpu_of(device);
    const struct shard_rows *shard = cpu->stage.shard;
    int64_t start_ns = clock_now_ns();
    if (shard->rows > 0) /* an empty shard has no buffer */
        memset(logprobs, 0, (size_t)shard->rows * sizeof *logprobs);
    for (int b = 0; b < shard->block_count; b++) {
        const struct shard_block *block = &shard->blocks[b];
        for (int64_t r = 0; !block->recomputed && r < block->rows; r += DEVICE_CPU_LOGIT_ROWS) {
            drive->call(drive->context); /* the rows of one pass are a work item */
            if (atomic_load(&cpu->skipping))
                break;
            int64_t left = block->rows - r;
            struct logits_job job = {
                .cpu = cpu,
                .row = block->row + r,
                .rows = left < DEVICE_CPU_LOGIT_ROWS ? left : DEVICE_CPU_LOGIT_ROWS,
                .tokens = tokens,
                .logprobs = logprobs + block->row + r,
                .index = block->index + r,
            };
            logits_rows(&job);
            thread_pool_run(cpu->pool, (size_t)job.rows, score_row, NULL, &job);
        }
    }
    device_spent(device, DEVICE_PART_HEAD, start_ns);
    return STATUS_OK;
}

static enum status logits(struct device *device, int64_t row)
{
    struct device_cpu *cpu = device_cpu_of(device);
    struct logits_job job = {.cpu = cpu, .row = row, .rows = 1};
    int64_t start_ns = clock_now_ns();
    logits_rows(&job);
    device_spent(device, DEVICE_PART_HEAD, start_ns);
    return STATUS_OK;
}

/* They are computed into memory.logits. */
static enum status read_logits(struct device *device, struct span outputs)
{
    (void)device;
    (void)outputs;
    return STATUS_OK;
}

static enum status logprob(struct device *device, float *logprob, int32_t id)
{
    struct device_cpu *cpu = device_cpu_of(device);
    const float *all = device->memory.logits;
    *logprob = (float)(all[id] - cpu->kernels->logsumexp(all, cpu->spec.vocab));
    return STATUS_OK;
}

static enum status survey(struct device *device, struct logits_survey *survey, double temperature)
{
    (void)device;
    (void)temperature;
    survey->count = 0;
    return STATUS_OK;
}

/* ---- the rest ---- */

static void skip(struct device *device)
{
    struct device_cpu *cpu = device_cpu_of(device);
    atomic_store(&cpu->skipping, true);
    thread_pool_skip(cpu->pool);
}

static int64_t last_active_ns(const struct device *device)
{
    return thread_pool_last_active_ns(((const struct device_cpu *)(const void *)device)->pool);
}

static const struct device_ops cpu_ops = {
    .destroy = destroy,
    .prepare = prepare,
    .begin = begin,
    .rows = rows,
    .attend = attend,
    .score = score,
    .logits = logits,
    .read_logits = read_logits,
    .logprob = logprob,
    .survey = survey,
    .step_begin = device_cpu_step_begin,
    .step_qkv = device_cpu_step_qkv,
    .step_attend = device_cpu_step_attend,
    .step_output = device_cpu_step_output,
    .step_gate = device_cpu_step_gate,
    .step_down = device_cpu_step_down,
    .step_logits = device_cpu_step_logits,
    .sink_records = sink_records,
    .move = move,
    .clear = clear,
    .skip = skip,
    .last_active_ns = last_active_ns,
};

enum status device_cpu_create(struct device **out, const struct model *model,
                              const struct device_cpu_options *options)
{
    enum status status = STATUS_OK;
    struct device_cpu *cpu = calloc(1, sizeof *cpu);
    if (!cpu)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the CPU device");
    cpu->device.ops = &cpu_ops;
    cpu->device.name = "cpu";
    cpu->spec = *model_spec(model);
    TRY_ELSE(choose_kernels(&cpu->kernels, options->kernels), undo);
    TRY_ELSE(
        binding_choose(&cpu->binding, options->local_rank, options->local_size, options->threads),
        undo);
    TRY_ELSE(thread_pool_create(&cpu->pool, cpu->binding.threads,
                                cpu->binding.pinned ? cpu->binding.processing_units : NULL),
             undo);
    TRY_ELSE(weights_create(&cpu->weights, model, cpu->kernels), undo);
    describe(cpu, model);
    *out = &cpu->device;
    return STATUS_OK;
undo:
    destroy(&cpu->device);
    return status;
}
