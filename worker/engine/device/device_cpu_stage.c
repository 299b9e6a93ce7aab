/* The CPU device's stages with sharded queries. Promises that a row's numbers do not depend on the
 * number of threads, on the cutting into blocks and tiles, or on the order in which they are done.
 */
#include "worker/engine/device/device_cpu_stage.h"

#include <math.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/engine/device/device_cpu_ops.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- rows ---- */

static void begin_block(void *context, int thread, size_t item)
{
    struct device_cpu *cpu = context;
    const struct shard_block *block = &cpu->stage.shard->blocks[item];
    int64_t row_width = cpu->spec.head_dim;
    (void)thread;
    device_cpu_tables(cpu, cpu->stage.method, cpu->tables + block->row * row_width,
                      cpu->device.group.stage_rows * row_width, block->index, block->rows);
}

enum status device_cpu_stage_begin(struct device *device, const struct device_stage *stage)
{
    struct device_cpu *cpu = device_cpu_of(device);
    int64_t start_ns = clock_now_ns();
    cpu->stage = *stage;
    cpu->in_step = false;
    atomic_store(&cpu->skipping, false);
    thread_pool_run(cpu->pool, (size_t)stage->shard->block_count, begin_block, NULL, cpu);
    device_spent(device, DEVICE_PART_ROWS, start_ns);
    return STATUS_OK;
}

static struct device_cpu_rows rows_of_block(struct device_cpu *cpu, int thread,
                                            const struct shard_block *block)
{
    const int64_t query_width = device_cpu_query_width(cpu);
    char *scratch = cpu->scratch + (size_t)thread * cpu->scratch_bytes;
    struct device_cpu_rows rows = {
        .cpu = cpu,
        .rows = block->rows,
        .index = block->index,
        .method = cpu->stage.method,
        .panels = cpu->stage.panels,
        .ids = cpu->stage.ids,
        .sinks = cpu->stage.sinks,
        .non_finite = cpu->stage.non_finite,
        .recomputed = block->recomputed,
        .sum = cpu->sum + block->row * cpu->spec.heads,
        .frame_rows = cpu->device.group.stage_rows,
        .multiply = cpu->kernels->matmul_prefill,
        .adds_at_once = true,
    };
    for (int b = 0; b < LAYER_BUFFERS; b++)
        rows.at[b] = (float *)(void *)(scratch + (size_t)block->rows * cpu->layout.offset[b]);
    rows.at[LAYER_HIDDEN] = cpu->hidden + block->row * cpu->spec.hidden;
    rows.at[LAYER_DELTA] = rows.at[LAYER_HIDDEN];
    rows.at[LAYER_QUERIES] = (float *)(void *)(cpu->queries + (size_t)(block->row * query_width) *
                                                                  device_cpu_operand_bytes(cpu));
    rows.at[LAYER_STATE] = cpu->acc + block->row * query_width;
    rows.at[LAYER_TABLES] = cpu->tables + block->row * cpu->spec.head_dim;
    return rows;
}

static void empty_state(struct device_cpu *cpu, const struct shard_block *block)
{
    const int64_t first = block->row * cpu->spec.heads;
    const int64_t count = block->rows * cpu->spec.heads;
    memset(cpu->acc + first * cpu->spec.head_dim, 0,
           (size_t)(count * cpu->spec.head_dim) * sizeof *cpu->acc);
    memset(cpu->sum + first, 0, (size_t)count * sizeof *cpu->sum);
    for (int64_t h = 0; h < count; h++)
        cpu->max[first + h] = -INFINITY;
}

struct run_job {
    struct device_cpu *cpu;
    int first, end; /* ops */
    const struct device_drive *drive;
};

static void run_block(void *context, int thread, size_t item)
{
    const struct run_job *job = context;
    const struct layer_program *program = job->cpu->program;
    struct shard_rows *shard = job->cpu->stage.shard;
    const int which = shard->sequence[item];
    const struct device_cpu_rows rows = rows_of_block(job->cpu, thread, &shard->blocks[which]);
    for (int o = job->first; o < job->end; o++)
        device_cpu_op(&rows, &program->ops[o], thread, device_cpu_all_of(&rows, &program->ops[o]));
    if (program->ops[job->end].kind == LAYER_ATTEND)
        empty_state(job->cpu, &shard->blocks[which]);
    atomic_store(&shard->done[which], true);
}

static void run_between(void *context)
{
    const struct run_job *job = context;
    job->drive->call(job->drive->context);
}

/* A block's ops, for whose columns all threads work: weights are made ready for a product once, and
 * not by every thread. */
static bool run_by_columns(const struct run_job *job, int which)
{
    struct device_cpu *cpu = job->cpu;
    const struct layer_op *ops = cpu->program->ops;
    const struct device_cpu_rows rows = rows_of_block(cpu, 0, &cpu->stage.shard->blocks[which]);
    bool all = true;
    for (int o = job->first; o < job->end && all;) {
        const struct layer_op *op = &ops[o++];
        const struct span columns = device_cpu_all_of(&rows, op);
        while (o < job->end && ops[o].joined)
            o++;
        if (op->place == LAYER_COLUMNS)
            all = device_cpu_joined(&rows, op, (int)(&ops[o] - op), columns, job->drive);
        else
            device_cpu_op(&rows, op, 0, columns);
    }
    if (all && ops[job->end].kind == LAYER_ATTEND)
        empty_state(cpu, &cpu->stage.shard->blocks[which]);
    atomic_store(&cpu->stage.shard->done[which], true);
    return all && !atomic_load(&cpu->skipping);
}

/* Whether all was computed. */
static bool run_blocks(struct run_job *job)
{
    const struct shard_rows *shard = job->cpu->stage.shard;
    if (shard->block_count >= job->cpu->device.threads)
        return thread_pool_run(job->cpu->pool, (size_t)shard->block_count, run_block, run_between,
                               job);
    bool all = true;
    for (int item = 0; item < shard->block_count && all; item++)
        all = run_by_columns(job, shard->sequence[item]);
    return all;
}

void device_cpu_stage_run(struct device_cpu *cpu, int first, int end,
                          const struct device_drive *drive)
{
    struct shard_rows *shard = cpu->stage.shard;
    struct run_job job = {cpu, first, end, drive};
    int64_t start_ns = clock_now_ns();
    const bool all = !atomic_load(&cpu->skipping) && run_blocks(&job);
    if (!all)
        for (int b = 0; b < shard->block_count; b++)
            atomic_store(&shard->done[b], true);
    device_spent(&cpu->device, DEVICE_PART_ROWS, start_ns);
}

/* ---- attention ---- */

struct attend_job {
    struct device_cpu *cpu;
    int layer;
    const struct device_keys *keys;
    int count;
    const struct device_drive *drive;
};

static int64_t panel_floor(int64_t index)
{
    return index > 0 ? index / PANEL_TOKENS * PANEL_TOKENS : 0;
}

/* One tile of queries to one extent of keys, cut to the panels that the tile can see. */
static void attend_extent(const struct device_cpu *cpu, struct attention_args *args,
                          const struct device_keys *keys, int head, int64_t reach)
{
    int64_t first = keys->first;
    int64_t end = keys->end;
    int64_t last_query = args->query_first + args->tokens;
    if (end > last_query)
        end = last_query;
    if (keys->store == BANDS_PANELS && reach != BANDS_OPEN &&
        panel_floor(args->query_first - reach + 1) > first)
        first = panel_floor(args->query_first - reach + 1);
    if (first >= end)
        return;
    size_t head_bytes = cpu->device.record_bytes / (size_t)cpu->spec.kv_heads;
    args->panel_stride = (size_t)keys->panel_records * cpu->device.record_bytes;
    size_t skipped = (size_t)((first - keys->first) / PANEL_TOKENS) * args->panel_stride;
    args->panels = (const char *)keys->records + skipped + (size_t)head * head_bytes;
    args->key_first = first;
    args->key_end = end;
    args->store = keys->store;
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
    const struct sight_table *sight = sight_of(&cpu->stage.method->sight, job->layer, head);
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
        .frame_stride = cpu->device.group.stage_rows * device_cpu_query_width(cpu),
        .query_stride = device_cpu_query_width(cpu),
        .query_first = tile->index,
        .tokens = tile->tokens,
        .kv_heads = 1,
        .group = group,
        .head_dim = spec->head_dim,
        .record_stride = cpu->device.record_bytes,
        .regimes = &sight->regimes,
        .scale_log2 = cpu->stage.method->scale_log2,
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    for (int k = 0; k < job->count; k++)
        if (tile->query >= job->keys[k].query_first && tile->query < job->keys[k].query_end)
            attend_extent(cpu, &args, &job->keys[k], head, sight->reach);
}

static void attend_between(void *context)
{
    const struct attend_job *job = context;
    job->drive->call(job->drive->context);
}

void device_cpu_stage_attend(struct device_cpu *cpu, int layer, const struct device_keys *keys,
                             int count, const struct device_drive *drive)
{
    int64_t start_ns = clock_now_ns();
    struct attend_job job = {cpu, layer, keys, count, drive};
    if (!atomic_load(&cpu->skipping))
        thread_pool_run(cpu->pool,
                        (size_t)cpu->stage.shard->tile_count * (size_t)cpu->spec.kv_heads,
                        attend_tile, attend_between, &job);
    device_spent(&cpu->device, DEVICE_PART_ATTEND, start_ns);
}

/* ---- logits ---- */

struct logits_job {
    struct device_cpu *cpu;
    struct device_cpu_rows rows;
    int64_t chunk;   /* outputs of an item */
    int64_t tokens;  /* of the whole sequence */
    float *logprobs; /* of the job's rows */
};

static void logits_chunk(void *context, int thread, size_t item)
{
    const struct logits_job *job = context;
    const struct layer_program *program = job->cpu->program;
    const int64_t first = (int64_t)item * job->chunk;
    const int64_t vocab = job->cpu->spec.vocab;
    const struct span outputs = {first, first + job->chunk < vocab ? first + job->chunk : vocab};
    device_cpu_op(&job->rows, &program->ops[program->logits], thread, outputs);
}

static struct logits_job logits_rows(struct device_cpu *cpu, int64_t row, int64_t rows,
                                     int64_t index)
{
    const struct layer_program *program = cpu->program;
    struct logits_job job = {
        .cpu = cpu,
        .rows = {.cpu = cpu,
                 .rows = rows,
                 .index = index,
                 .at = {[LAYER_HIDDEN] = cpu->hidden + row * cpu->spec.hidden,
                        [LAYER_NORMED] = cpu->logit_normed,
                        [LAYER_LOGITS] = cpu->logit_rows},
                 .multiply = cpu->kernels->matmul_prefill},
        .chunk = larger(cpu->spec.vocab / (8 * cpu->device.threads) / 64 * 64, 64),
    };
    for (int o = program->head; o < program->logits; o++)
        device_cpu_op(&job.rows, &program->ops[o], 0,
                      device_cpu_all_of(&job.rows, &program->ops[o]));
    thread_pool_run(cpu->pool, (size_t)((cpu->spec.vocab + job.chunk - 1) / job.chunk),
                    logits_chunk, NULL, &job);
    return job;
}

static void score_row(void *context, int thread, size_t item)
{
    const struct logits_job *job = context;
    int64_t index = job->rows.index + (int64_t)item;
    const float *logits = job->cpu->logit_rows + (int64_t)item * job->cpu->spec.vocab;
    (void)thread;
    if (index + 1 < job->tokens)
        job->logprobs[item] = (float)(logits[job->cpu->stage.ids[index + 1]] -
                                      job->cpu->kernels->logsumexp(logits, job->cpu->spec.vocab));
}

enum status device_cpu_stage_score(struct device *device, float *logprobs, int64_t tokens,
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
            struct logits_job job = logits_rows(
                cpu, block->row + r, left < DEVICE_CPU_LOGIT_ROWS ? left : DEVICE_CPU_LOGIT_ROWS,
                block->index + r);
            job.tokens = tokens;
            job.logprobs = logprobs + block->row + r;
            thread_pool_run(cpu->pool, (size_t)job.rows.rows, score_row, NULL, &job);
        }
    }
    device_spent(device, DEVICE_PART_HEAD, start_ns);
    return STATUS_OK;
}

void device_cpu_stage_logits(struct device_cpu *cpu, int64_t row)
{
    int64_t start_ns = clock_now_ns();
    logits_rows(cpu, row, 1, 0);
    device_spent(&cpu->device, DEVICE_PART_HEAD, start_ns);
}
