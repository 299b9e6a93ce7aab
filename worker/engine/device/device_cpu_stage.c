/* The CPU device's stages with sharded queries. Promises that a row's numbers do not depend on the
 * number of threads, on the cutting into blocks and tiles, or on the order in which they are done.
 */
#include "worker/engine/device/device_cpu_stage.h"

#include <math.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/engine/device/device_cpu_ops.h"
#include "worker/engine/device/device_cpu_share.h"

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- rows ---- */

static const struct device_sequence *sequence_of(const struct device_cpu *cpu, int member)
{
    return &cpu->stage.sequences[member];
}

static void begin_block(void *context, int thread, size_t item)
{
    struct device_cpu *cpu = context;
    const struct shard_block *block = &cpu->stage.shard->blocks[item];
    const struct device_sequence *sequence = sequence_of(cpu, block->member);
    const int64_t row_width = cpu->spec.head_dim;
    const int64_t frame_stride = cpu->device.group.stage_rows * row_width;
    (void)thread;
    device_cpu_tables(cpu, sequence, &sequence->method->rotation,
                      cpu->tables + block->row * row_width, frame_stride, block->index,
                      block->rows);
    if (cpu->spec.other_rope)
        device_cpu_tables(cpu, sequence, &sequence->method->other,
                          cpu->other_tables + block->row * row_width, frame_stride, block->index,
                          block->rows);
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

/* Rows of the stage from `row` on, in a thread's scratch. */
static struct device_cpu_rows rows_from(struct device_cpu *cpu, int thread, int64_t row,
                                        int64_t count)
{
    const int64_t query_width = device_cpu_query_width(cpu);
    char *scratch = cpu->scratch + (size_t)thread * cpu->scratch_bytes;
    struct device_cpu_rows rows = {
        .cpu = cpu,
        .row = row,
        .rows = count,
        .sum = cpu->sum + row * cpu->spec.heads,
        .frame_rows = cpu->device.group.stage_rows,
        .multiply = cpu->kernels->matmul_prefill,
        .adds_at_once = cpu->device.memory.sums == NULL && !cpu->program->adds_apart,
    };
    for (int b = 0; b < LAYER_BUFFERS; b++)
        rows.at[b] = (float *)(void *)(scratch + (size_t)count * cpu->layout.offset[b]);
    rows.at[LAYER_HIDDEN] = cpu->hidden + row * cpu->spec.hidden;
    if (rows.adds_at_once)
        rows.at[LAYER_DELTA] = rows.at[LAYER_HIDDEN];
    else if (cpu->device.memory.sums)
        rows.at[LAYER_DELTA] = cpu->device.memory.sums + row * cpu->spec.hidden;
    rows.at[LAYER_QUERIES] = (float *)(void *)(cpu->queries + (size_t)(row * query_width) *
                                                                  device_cpu_operand_bytes(cpu));
    rows.at[LAYER_STATE] = cpu->acc + row * query_width;
    rows.at[LAYER_TABLES] = cpu->tables + row * cpu->spec.head_dim;
    rows.at[LAYER_OTHER_TABLES] = cpu->other_tables + row * cpu->spec.head_dim;
    return rows;
}

/* Says which block they are. */
static struct device_cpu_rows as_block(struct device_cpu_rows rows, const struct shard_block *block)
{
    rows.index = block->index;
    rows.sequence = sequence_of(rows.cpu, block->member);
    rows.recomputed = block->recomputed;
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

/* Only such a run leaves a block's keys, which peers may wait for. */
static bool ends_with_keys(const struct run_job *job)
{
    return job->cpu->program->ops[job->end].kind == LAYER_ATTEND;
}

static void run_block(void *context, int thread, size_t item)
{
    const struct run_job *job = context;
    const struct layer_program *program = job->cpu->program;
    struct shard_rows *shard = job->cpu->stage.shard;
    const int which = shard->sequence[item];
    const struct shard_block *block = &shard->blocks[which];
    const struct device_cpu_rows rows =
        as_block(rows_from(job->cpu, thread, block->row, block->rows), block);
    for (int o = job->first; o < job->end; o++)
        device_cpu_op(&rows, &program->ops[o], thread, device_cpu_all_of(&rows, &program->ops[o]));
    if (!ends_with_keys(job))
        return;
    empty_state(job->cpu, block);
    atomic_store(&shard->done[which], true);
}

static void run_between(void *context)
{
    const struct run_job *job = context;
    job->drive->call(job->drive->context);
}

/* The ops of blocks [first, end), which all threads share: weights are made ready for a product
 * once, and not by every thread. */
static bool run_shared(const struct run_job *job, int first, int end)
{
    struct device_cpu *cpu = job->cpu;
    struct shard_rows *shard = cpu->stage.shard;
    const struct shard_block *blocks = shard->blocks;
    const int64_t row = blocks[first].row;
    const struct device_cpu_share share = {
        rows_from(cpu, 0, row, blocks[end - 1].row + blocks[end - 1].rows - row),
        cpu->stage_parts,
        end - first,
    };
    bool all = true;
    for (int b = first; b < end; b++)
        cpu->stage_parts[b - first] = as_block(
            device_cpu_share_slice(&share.all, blocks[b].row - row, blocks[b].rows), &blocks[b]);
    for (int o = job->first; o < job->end && all;) {
        const int next = device_cpu_share_end(cpu->program, o, job->end);
        all = device_cpu_share_ops(
            &share, o, next, device_cpu_all_of(&share.all, &cpu->program->ops[o]), job->drive);
        o = next;
    }
    for (int b = first; b < end && ends_with_keys(job); b++) {
        if (all)
            empty_state(cpu, &blocks[b]);
        atomic_store(&shard->done[b], true);
    }
    return all && !atomic_load(&cpu->skipping);
}

/* Where the blocks end that go together from `first` on: by row, as many as a product takes. */
static int shared_end(const struct shard_rows *shard, int first)
{
    int64_t rows = shard->blocks[first].rows;
    int end = first + 1;
    while (end < shard->block_count && end - first < CHOICE_SEQUENCES_MAX &&
           rows + shard->blocks[end].rows <= KERNELS_ROWS_MAX)
        rows += shard->blocks[end++].rows;
    return end;
}

/* Whether all was computed. */
static bool run_blocks(struct run_job *job)
{
    const struct shard_rows *shard = job->cpu->stage.shard;
    if (shard->members == 1 && shard->block_count >= job->cpu->device.threads)
        return thread_pool_run(job->cpu->pool, (size_t)shard->block_count, run_block, run_between,
                               job);
    bool all = true;
    for (int first = 0, end; first < shard->block_count && all; first = end) {
        end = shared_end(shard, first);
        all = run_shared(job, first, end);
    }
    return all;
}

void device_cpu_stage_run(struct device_cpu *cpu, int first, int end,
                          const struct device_drive *drive)
{
    struct shard_rows *shard = cpu->stage.shard;
    struct run_job job = {cpu, first, end, drive};
    int64_t start_ns = clock_now_ns();
    const bool all = !atomic_load(&cpu->skipping) && run_blocks(&job);
    if (!all && ends_with_keys(&job))
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
                          const struct device_keys *keys, int64_t reach, int head)
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
    const struct device_method *method = sequence_of(cpu, tile->member)->method;
    const struct sight_table *sight = sight_of(&method->sight, job->layer, head);
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
        .scale_log2 = method->scale_log2,
        .cap_log2 = method->cap_log2,
        .scratch = device_cpu_kernel_scratch(cpu, thread),
    };
    for (int k = 0; k < job->count; k++)
        if (tile->query >= job->keys[k].query_first && tile->query < job->keys[k].query_end)
            attend_extent(cpu, &args, &job->keys[k], sight->reach, head);
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
    for (int o = program->logits; o < program->count; o++)
        device_cpu_op(&job->rows, &program->ops[o], thread, outputs);
}

/* `rows` rows as they lie in logit_normed; `index` is the first one's. */
static struct logits_job logits_job(struct device_cpu *cpu, int64_t rows, int64_t index)
{
    return (struct logits_job){
        .cpu = cpu,
        .rows = {.cpu = cpu,
                 .rows = rows,
                 .index = index,
                 .at = {[LAYER_NORMED] = cpu->logit_normed, [LAYER_LOGITS] = cpu->logit_rows},
                 .multiply = cpu->kernels->matmul_prefill},
        .chunk = larger(cpu->spec.vocab / (8 * cpu->device.threads) / 64 * 64, 64),
    };
}

/* The norms of the stage's rows [row, row + count), from the job's row `at` on. */
static void norm_rows(const struct logits_job *job, int64_t at, int64_t row, int64_t count)
{
    const struct device_cpu *cpu = job->cpu;
    const struct layer_program *program = cpu->program;
    struct device_cpu_rows rows = job->rows;
    rows.rows = count;
    rows.at[LAYER_HIDDEN] = cpu->hidden + row * cpu->spec.hidden;
    rows.at[LAYER_NORMED] += at * cpu->spec.hidden;
    for (int o = program->head; o < program->logits; o++)
        device_cpu_op(&rows, &program->ops[o], 0, device_cpu_all_of(&rows, &program->ops[o]));
}

static void find_logits(struct logits_job *job)
{
    const int64_t vocab = job->cpu->spec.vocab;
    thread_pool_run(job->cpu->pool, (size_t)((vocab + job->chunk - 1) / job->chunk), logits_chunk,
                    NULL, job);
}

static void score_row(void *context, int thread, size_t item)
{
    const struct logits_job *job = context;
    int64_t index = job->rows.index + (int64_t)item;
    const float *logits = job->cpu->logit_rows + (int64_t)item * job->cpu->spec.vocab;
    (void)thread;
    if (index + 1 < job->tokens)
        job->logprobs[item] = (float)(logits[job->cpu->stage.sequences->ids[index + 1]] -
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
            const int64_t left = block->rows - r;
            const int64_t rows = left < DEVICE_CPU_LOGIT_ROWS ? left : DEVICE_CPU_LOGIT_ROWS;
            struct logits_job job = logits_job(cpu, rows, block->index + r);
            norm_rows(&job, 0, block->row + r, rows);
            find_logits(&job);
            job.tokens = tokens;
            job.logprobs = logprobs + block->row + r;
            thread_pool_run(cpu->pool, (size_t)job.rows.rows, score_row, NULL, &job);
        }
    }
    device_spent(device, DEVICE_PART_HEAD, start_ns);
    return STATUS_OK;
}

/* The last row of a sequence. */
static int64_t last_row(const struct shard_rows *shard, int64_t member)
{
    int b = shard->block_count - 1;
    while (shard->blocks[b].member != member)
        b--;
    return shard->blocks[b].row + shard->blocks[b].rows - 1;
}

void device_cpu_stage_logits(struct device_cpu *cpu, int64_t row, int64_t count)
{
    const struct shard_rows *shard = cpu->stage.shard;
    int64_t start_ns = clock_now_ns();
    struct logits_job job = logits_job(cpu, count, 0);
    for (int64_t r = 0; r < count; r++)
        norm_rows(&job, r, shard->members > 1 ? last_row(shard, row + r) : row + r, 1);
    find_logits(&job);
    device_spent(&cpu->device, DEVICE_PART_HEAD, start_ns);
}
