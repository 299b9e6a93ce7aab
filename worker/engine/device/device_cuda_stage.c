/* The CUDA device's stages with sharded queries. Promises that a block's keys are in the cache, in
 * the compute stream's order, when it is marked done. */
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/engine/device/device_cuda_ops.h"
#include "worker/engine/device/device_cuda_stage.h"

/* ---- beginning ---- */

/* The spans of queries that have rows: tiles of one query follow each other. */
static enum status find_spans(struct device_cuda *cuda, const struct shard_rows *shard)
{
    if (cuda->span_capacity < shard->tile_count) {
        free(cuda->spans);
        free(cuda->span_queries);
        cuda->spans = calloc((size_t)shard->tile_count, sizeof *cuda->spans);
        cuda->span_queries = calloc((size_t)shard->tile_count, sizeof *cuda->span_queries);
        cuda->span_capacity = cuda->spans && cuda->span_queries ? shard->tile_count : 0;
        if (cuda->span_capacity == 0)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %d spans",
                        shard->tile_count);
    }
    cuda->span_count = 0;
    for (int t = 0; t < shard->tile_count; t++) {
        const struct shard_tile *tile = &shard->tiles[t];
        int last = cuda->span_count - 1;
        if (last >= 0 && cuda->span_queries[last] == tile->query) {
            cuda->spans[last].tokens += tile->tokens;
            continue;
        }
        cuda->spans[cuda->span_count] =
            (struct attention_span){tile->row, tile->index, tile->tokens};
        cuda->span_queries[cuda->span_count++] = tile->query;
    }
    return STATUS_OK;
}

static void fill_lists(struct device_cuda *cuda, const struct device_stage *stage)
{
    const struct shard_rows *shard = stage->shard;
    struct device_cuda_lists *lists = &cuda->host;
    for (int b = 0; b < shard->block_count; b++) {
        const struct shard_block *block = &shard->blocks[b];
        int64_t record = -1;
        for (int64_t r = 0; r < block->rows; r++) {
            const int64_t index = block->index + r;
            if (!block->recomputed && (r == 0 || index % PANEL_TOKENS == 0))
                record = panel_table_slot(stage->sequences->panels, index);
            lists->ids[block->row + r] = stage->sequences->ids[index];
            lists->indices[block->row + r] = index;
            lists->records[block->row + r] = record;
        }
    }
}

static enum status send_lists(struct device_cuda *cuda, int64_t rows)
{
    const size_t count = (size_t)rows;
    TRY(device_cuda_copy(cuda, cuda->there.ids, cuda->host.ids, count * sizeof(int32_t)));
    TRY(device_cuda_copy(cuda, cuda->there.indices, cuda->host.indices, count * sizeof(int64_t)));
    TRY(device_cuda_copy(cuda, cuda->there.records, cuda->host.records, count * sizeof(int64_t)));
    return cuda->streams->runtime->event_record(cuda->lists_read, cuda->streams->compute);
}

enum status device_cuda_begin(struct device *device, const struct device_stage *stage)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const int64_t rows = stage->shard->rows;
    cuda->stage = *stage;
    cuda->in_step = false;
    atomic_store(&cuda->skipping, false);
    part_clock_forget(&cuda->clock);
    TRY(find_spans(cuda, stage->shard));
    TRY(device_cuda_wait(cuda, cuda->lists_read, NULL));
    if (rows == 0)
        return STATUS_OK;
    fill_lists(cuda, stage);
    TRY(device_cuda_part(cuda, DEVICE_PART_ROWS));
    TRY(send_lists(cuda, rows));
    TRY(device_cuda_tables(cuda, stage->sequences->method, cuda->tables, cuda->there.indices,
                           rows));
    return STATUS_OK;
}

/* ---- ops ---- */

static struct device_cuda_rows rows_of_block(struct device_cuda *cuda,
                                             const struct shard_block *block)
{
    const int64_t query_width = device_cuda_query_width(cuda);
    struct device_cuda_rows rows = {
        .cuda = cuda,
        .rows = block->rows,
        .method = cuda->stage.sequences->method,
        .panels = cuda->stage.sequences->panels,
        .sinks = cuda->stage.sequences->sinks,
        .ids = cuda->there.ids + block->row,
        .indices = cuda->there.indices + block->row,
        .records = cuda->there.records + block->row,
        .sum = cuda->sum + block->row * cuda->spec.heads,
        .query_frame_rows = cuda->device.group.stage_rows,
        .table_frame_rows = cuda->stage.shard->rows,
    };
    for (int b = 0; b < LAYER_BUFFERS; b++)
        rows.at[b] =
            (float *)(void *)(cuda->block + DEVICE_CUDA_BLOCK_ROWS * cuda->layout.offset[b]);
    rows.at[LAYER_HIDDEN] = cuda->hidden + block->row * cuda->spec.hidden;
    rows.at[LAYER_DELTA] = rows.at[LAYER_HIDDEN];
    rows.at[LAYER_QUERIES] = (float *)(void *)(cuda->queries + (size_t)(block->row * query_width) *
                                                                   DEVICE_CUDA_OPERAND_BYTES);
    rows.at[LAYER_STATE] = cuda->acc + block->row * query_width;
    rows.at[LAYER_TABLES] = cuda->tables + block->row * cuda->spec.head_dim;
    return rows;
}

enum status device_cuda_stage_run(struct device_cuda *cuda, int first, int end,
                                  const struct device_drive *drive)
{
    struct shard_rows *shard = cuda->stage.shard;
    const int layer = cuda->program->ops[end].layer;
    struct CUevent_st *done = cuda->layers_done[layer % DEVICE_CUDA_AHEAD];
    const int64_t start_ns = clock_now_ns();
    TRY(device_cuda_wait(cuda, done, drive));
    TRY(device_cuda_part(cuda, DEVICE_PART_ROWS));
    for (int item = 0; item < shard->block_count; item++) {
        const int which = shard->sequence[item];
        struct device_cuda_rows rows = rows_of_block(cuda, &shard->blocks[which]);
        if (!atomic_load(&cuda->skipping))
            TRY(device_cuda_ops(&rows, first, end));
        atomic_store(&shard->done[which], true);
        drive->call(drive->context); /* what the block's keys wait for is now the stream's end */
    }
    cuda->fresh = true;
    TRY(cuda->streams->runtime->event_record(done, cuda->streams->compute));
    if (end == cuda->program->head)
        TRY(device_cuda_end_parts(cuda, drive));
    cuda->device.compute_seconds += clock_seconds_since(start_ns);
    return STATUS_OK;
}

enum status device_cuda_stage_attend(struct device_cuda *cuda, int layer,
                                     const struct device_keys *keys, int count,
                                     const struct device_drive *drive)
{
    const int64_t start_ns = clock_now_ns();
    const struct kernels_cuda_prefill args = {
        .queries = cuda->queries,
        .frame_stride = cuda->device.group.stage_rows * device_cuda_query_width(cuda),
        .acc = cuda->acc,
        .max = cuda->max,
        .sum = cuda->sum,
        .first = cuda->fresh,
        .heads = cuda->spec.heads,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
        .scale_log2 = cuda->stage.sequences->method->scale_log2,
    };
    TRY(device_cuda_part(cuda, DEVICE_PART_ATTEND));
    if (!atomic_load(&cuda->skipping)) {
        const struct device_cuda_spans spans = {cuda->spans, cuda->span_queries, cuda->span_count};
        const struct device_cuda_seen seen = {&cuda->stage.sequences->method->sight, layer, keys,
                                              count};
        TRY(device_cuda_attend(cuda, &args, &spans, &seen));
        cuda->fresh = false;
    }
    drive->call(drive->context);
    cuda->device.compute_seconds += clock_seconds_since(start_ns);
    return STATUS_OK;
}

/* ---- logits ---- */

/* The logits of `rows` rows from `row` on. */
static enum status find_logits(struct device_cuda *cuda, int64_t row, int64_t rows)
{
    struct device_cuda_rows asked = {
        .cuda = cuda,
        .rows = rows,
        .at = {[LAYER_HIDDEN] = cuda->hidden + row * cuda->spec.hidden,
               [LAYER_NORMED] = cuda->logit_normed,
               [LAYER_LOGITS] = cuda->logits},
    };
    return device_cuda_ops(&asked, cuda->program->head, cuda->program->count);
}

static enum status score_rows(struct device_cuda *cuda, int64_t row, int64_t rows)
{
    const struct kernels_cuda_logits args = {
        .out = cuda->there.scores + row,
        .logits = cuda->logits,
        .ids = cuda->there.targets + row,
        .rows = rows,
        .vocab = cuda->spec.vocab,
    };
    TRY(find_logits(cuda, row, rows));
    LAUNCH(cuda, logits, &args);
    return STATUS_OK;
}

static void fill_targets(struct device_cuda *cuda, int64_t tokens)
{
    const struct shard_rows *shard = cuda->stage.shard;
    for (int b = 0; b < shard->block_count; b++) {
        const struct shard_block *block = &shard->blocks[b];
        for (int64_t r = 0; r < block->rows; r++) {
            const int64_t next = block->index + r + 1;
            cuda->host.targets[block->row + r] =
                !block->recomputed && next < tokens ? cuda->stage.sequences->ids[next] : -1;
        }
    }
}

enum status device_cuda_score(struct device *device, float *logprobs, int64_t tokens,
                              const struct device_drive *drive)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const struct shard_rows *shard = cuda->stage.shard;
    const int64_t start_ns = clock_now_ns();
    if (shard->rows == 0)
        return STATUS_OK;
    fill_targets(cuda, tokens);
    TRY(device_cuda_part(cuda, DEVICE_PART_HEAD));
    TRY(device_cuda_copy(cuda, cuda->there.targets, cuda->host.targets,
                         (size_t)shard->rows * sizeof(int32_t)));
    for (int64_t row = 0; row < shard->rows; row += DEVICE_CUDA_LOGIT_ROWS) {
        const int64_t left = shard->rows - row;
        if (!atomic_load(&cuda->skipping))
            TRY(score_rows(cuda, row,
                           left < DEVICE_CUDA_LOGIT_ROWS ? left : DEVICE_CUDA_LOGIT_ROWS));
        drive->call(drive->context);
    }
    TRY(device_cuda_copy(cuda, cuda->host.scores, cuda->there.scores,
                         (size_t)shard->rows * sizeof *cuda->host.scores));
    TRY(device_cuda_end_parts(cuda, drive));
    TRY(device_cuda_settle(cuda, drive));
    for (int64_t row = 0; row < shard->rows; row++)
        logprobs[row] = cuda->host.targets[row] < 0 ? 0 : cuda->host.scores[row].logprob;
    device->compute_seconds += clock_seconds_since(start_ns);
    return STATUS_OK;
}

enum status device_cuda_stage_logits(struct device_cuda *cuda, int64_t row)
{
    cuda->logits_part = DEVICE_PART_HEAD;
    TRY(device_cuda_part(cuda, DEVICE_PART_HEAD));
    TRY(find_logits(cuda, row, 1));
    return device_cuda_end_parts(cuda, NULL);
}
