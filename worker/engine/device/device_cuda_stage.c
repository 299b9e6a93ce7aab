/* The CUDA device's stages with sharded queries. Promises that a block's keys are in the cache, in
 * the compute stream's order, when it is marked done. */
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
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
                record = device_cuda_record(cuda, stage->cache, index);
            lists->ids[block->row + r] = stage->ids[index];
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
    atomic_store(&cuda->skipping, false);
    part_clock_forget(&cuda->clock);
    TRY(find_spans(cuda, stage->shard));
    TRY(device_cuda_wait(cuda, cuda->lists_read, NULL));
    if (rows == 0)
        return STATUS_OK;
    fill_lists(cuda, stage);
    TRY(device_cuda_part(cuda, DEVICE_PART_ROWS));
    TRY(send_lists(cuda, rows));
    TRY(device_cuda_tables(cuda, stage->bands, cuda->tables, cuda->there.indices, rows));
    const struct kernels_cuda_embed embed = {
        .hidden = cuda->hidden,
        .matrix = cuda->weights->embedding,
        .ids = cuda->there.ids,
        .rows = rows,
    };
    LAUNCH(cuda, embed, &embed);
    return STATUS_OK;
}

/* ---- rows ---- */

static enum status norm(struct device_cuda *cuda, void *out, float *hidden, const float *weight,
                        int64_t rows)
{
    const struct kernels_cuda_rmsnorm args = {
        .out = out,
        .out_dtype = DEVICE_CUDA_OPERAND,
        .hidden = hidden,
        .weight = weight,
        .rows = rows,
        .width = cuda->spec.hidden,
        .eps = cuda->spec.norm_eps,
    };
    LAUNCH(cuda, rmsnorm, &args);
    return STATUS_OK;
}

/* Ends a layer for a block of rows: output projection and MLP, added to the residual stream. */
static enum status end_layer(struct device_cuda *cuda, int layer, const struct shard_block *block)
{
    const struct weights_cuda_layer *weights = &cuda->weights->layers[layer];
    const struct model_spec *spec = &cuda->spec;
    const int64_t rows = block->rows;
    const int64_t heads = block->row * spec->heads;
    float *hidden = cuda->hidden + block->row * spec->hidden;
    float *gate = cuda->wide;            /* [rows, ffn] */
    float *up = gate + rows * spec->ffn; /* [rows, ffn] */
    const struct kernels_cuda_finish finish = {
        .out = cuda->normed, /* [rows, heads, head_dim] */
        .out_dtype = DEVICE_CUDA_OPERAND,
        .acc = cuda->acc + heads * spec->head_dim,
        .sum = cuda->sum + heads,
        .rows = rows * spec->heads,
        .head_dim = spec->head_dim,
    };
    const struct kernels_cuda_swiglu swiglu = {
        .out = cuda->narrow,
        .out_dtype = DEVICE_CUDA_OPERAND,
        .out_stride = spec->ffn,
        .gate = gate,
        .up = up,
        .in_stride = spec->ffn,
        .rows = rows,
        .width = spec->ffn,
    };
    LAUNCH(cuda, attention_finish, &finish);
    TRY(device_cuda_multiply(cuda, hidden, spec->hidden, cuda->normed, &weights->attn_output, rows,
                             true));
    TRY(norm(cuda, cuda->normed, hidden, weights->ffn_norm, rows));
    TRY(device_cuda_multiply(cuda, gate, spec->ffn, cuda->normed, &weights->ffn_gate, rows, false));
    TRY(device_cuda_multiply(cuda, up, spec->ffn, cuda->normed, &weights->ffn_up, rows, false));
    LAUNCH(cuda, swiglu, &swiglu);
    return device_cuda_multiply(cuda, hidden, spec->hidden, cuda->narrow, &weights->ffn_down, rows,
                                true);
}

/* Rotates and stores a block's q, k and v, which lie dense one behind the other in `wide`. */
static enum status rotate(struct device_cuda *cuda, int layer, const struct shard_block *block,
                          const float *q, const float *k, const float *v)
{
    const int64_t query_width = device_cuda_query_width(cuda);
    const int64_t all_rows = cuda->stage.shard->rows;
    const int frames = cuda->stage.bands->query_frames;
    const float *tables = cuda->tables + block->row * cuda->spec.head_dim;
    const struct kernels_cuda_rope_queries queries = {
        .out = cuda->queries + (size_t)(block->row * query_width) * DEVICE_CUDA_OPERAND_BYTES,
        .frame_stride = cuda->plan.rows * query_width,
        .q = q,
        .q_stride = query_width,
        .table = tables,
        .table_stride = all_rows * cuda->spec.head_dim,
        .frame_count = frames,
        .rows = block->rows,
        .heads = cuda->spec.heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
    };
    const struct kernels_cuda_rope_store store = {
        .cache = (char *)cuda->device.memory.cache +
                 (size_t)layer * kv_cache_layer_bytes(cuda->stage.cache),
        .sinks_rotated = device_cuda_sinks(cuda, layer, true),
        .sinks_unrotated = device_cuda_sinks(cuda, layer, false),
        .sinks = cuda->stage.sinks,
        .records = cuda->there.records + block->row,
        .indices = cuda->there.indices + block->row,
        .k = k,
        .v = v,
        .stride = device_cuda_key_width(cuda),
        .table = tables + frames * all_rows * cuda->spec.head_dim,
        .rows = block->rows,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
    };
    LAUNCH(cuda, rope_queries, &queries);
    LAUNCH(cuda, rope_store, &store);
    return STATUS_OK;
}

/* Begins a layer for a block of rows: q in every frame, k and v into the cache. */
static enum status begin_layer(struct device_cuda *cuda, int layer, const struct shard_block *block)
{
    const struct weights_cuda_layer *weights = &cuda->weights->layers[layer];
    const int64_t rows = block->rows;
    const int64_t query_width = device_cuda_query_width(cuda);
    const int64_t key_width = device_cuda_key_width(cuda);
    float *q = cuda->wide;             /* [rows, heads, head_dim] */
    float *k = q + rows * query_width; /* [rows, kv_heads, head_dim] */
    float *v = k + rows * key_width;   /* [rows, kv_heads, head_dim] */
    TRY(norm(cuda, cuda->normed, cuda->hidden + block->row * cuda->spec.hidden, weights->attn_norm,
             rows));
    TRY(device_cuda_multiply(cuda, q, query_width, cuda->normed, &weights->attn_q, rows, false));
    TRY(device_cuda_multiply(cuda, k, key_width, cuda->normed, &weights->attn_k, rows, false));
    TRY(device_cuda_multiply(cuda, v, key_width, cuda->normed, &weights->attn_v, rows, false));
    return rotate(cuda, layer, block, q, k, v);
}

static enum status rows_block(struct device_cuda *cuda, int layer, const struct shard_block *block)
{
    if (layer > 0)
        TRY(end_layer(cuda, layer - 1, block));
    return layer < cuda->spec.layers ? begin_layer(cuda, layer, block) : STATUS_OK;
}

enum status device_cuda_rows(struct device *device, int layer, const struct device_drive *drive)
{
    struct device_cuda *cuda = device_cuda_of(device);
    struct shard_rows *shard = cuda->stage.shard;
    struct CUevent_st *done = cuda->layers_done[layer % DEVICE_CUDA_AHEAD];
    const int64_t start_ns = clock_now_ns();
    TRY(device_cuda_wait(cuda, done, drive));
    TRY(device_cuda_part(cuda, DEVICE_PART_ROWS));
    for (int item = 0; item < shard->block_count; item++) {
        const int which = shard->sequence[item];
        if (!atomic_load(&cuda->skipping))
            TRY(rows_block(cuda, layer, &shard->blocks[which]));
        atomic_store(&shard->done[which], true);
        drive->call(drive->context); /* what the block's keys wait for is now the stream's end */
    }
    cuda->fresh = true;
    TRY(cuda->streams->runtime->event_record(done, cuda->streams->compute));
    if (layer == cuda->spec.layers)
        TRY(device_cuda_end_parts(cuda, drive));
    device->compute_seconds += clock_seconds_since(start_ns);
    return STATUS_OK;
}

enum status device_cuda_attend_stage(struct device *device, int layer,
                                     const struct device_keys *keys, int count,
                                     const struct device_drive *drive)
{
    struct device_cuda *cuda = device_cuda_of(device);
    const int64_t start_ns = clock_now_ns();
    const struct kernels_cuda_prefill args = {
        .regimes = &cuda->regimes,
        .queries = cuda->queries,
        .frame_stride = cuda->plan.rows * device_cuda_query_width(cuda),
        .acc = cuda->acc,
        .max = cuda->max,
        .sum = cuda->sum,
        .first = cuda->fresh,
        .heads = cuda->spec.heads,
        .kv_heads = cuda->spec.kv_heads,
        .head_dim = cuda->spec.head_dim,
        .operand = DEVICE_CUDA_OPERAND,
        .scale_log2 = device_scale_log2(&cuda->choice, cuda->spec.head_dim),
    };
    (void)layer;
    TRY(device_cuda_part(cuda, DEVICE_PART_ATTEND));
    if (!atomic_load(&cuda->skipping)) {
        TRY(device_cuda_attend(cuda, &args, cuda->spans, cuda->span_queries, cuda->span_count, keys,
                               count));
        cuda->fresh = false;
    }
    drive->call(drive->context);
    device->compute_seconds += clock_seconds_since(start_ns);
    return STATUS_OK;
}

/* ---- logits ---- */

static enum status score_rows(struct device_cuda *cuda, int64_t row, int64_t rows)
{
    const int64_t vocab = cuda->spec.vocab;
    const struct kernels_cuda_logits args = {
        .out = cuda->there.scores + row,
        .logits = cuda->logits,
        .ids = cuda->there.targets + row,
        .rows = rows,
        .vocab = vocab,
    };
    TRY(norm(cuda, cuda->logit_normed, cuda->hidden + row * cuda->spec.hidden,
             cuda->weights->output_norm, rows));
    TRY(device_cuda_multiply(cuda, cuda->logits, vocab, cuda->logit_normed, &cuda->weights->output,
                             rows, false));
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
                !block->recomputed && next < tokens ? cuda->stage.ids[next] : -1;
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

enum status device_cuda_logits(struct device *device, int64_t row)
{
    struct device_cuda *cuda = device_cuda_of(device);
    cuda->logits_part = DEVICE_PART_HEAD;
    TRY(device_cuda_part(cuda, DEVICE_PART_HEAD));
    TRY(norm(cuda, cuda->logit_normed, cuda->hidden + row * cuda->spec.hidden,
             cuda->weights->output_norm, 1));
    TRY(device_cuda_multiply(cuda, cuda->logits, cuda->spec.vocab, cuda->logit_normed,
                             &cuda->weights->output, 1, false));
    return device_cuda_end_parts(cuda, NULL);
}
