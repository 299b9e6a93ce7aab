/* Owns nothing: rotation of queries and keys, the tiles in which they meet, and the way back. */
#include "worker/trainer/pass_parts.h"

#include <math.h>
#include <string.h>

/* ---- rows to keys and queries, and their gradients back ---- */

struct attention_job {
    const struct pass *pass;
    int layer;
    const float *qkv;
    float *out, *logsumexp;
    float *dqkv;
    const float *dout;
    int part; /* of the way back: which parts of queries and keys meet */
};

static void take_pairs(const struct pass *pass, const float *qkv)
{
    const int64_t width = pass->tape.widths[LAYER_QKV], pair = pass_pair_width(pass);
    for (int p = 0; p < pass->piece_count; p++) {
        const struct pass_piece *piece = &pass->pieces[p];
        for (int64_t t = 0; piece->row >= 0 && t < piece->keys.end - piece->keys.first; t++)
            memcpy(pass->pairs + (piece->place + t) * pair,
                   qkv + (piece->row + t) * width + width - pair, (size_t)pair * sizeof(float));
    }
}

static int64_t rows_of(int64_t all, size_t item)
{
    const int64_t left = all - (int64_t)item * PASS_BLOCK_ROWS;
    return left < PASS_BLOCK_ROWS ? left : PASS_BLOCK_ROWS;
}

/* What rotation goes over: queries of this rank's rows, or keys that it has. */
struct turning {
    const struct attention_job *job;
    int frames, heads;
    int64_t rows, most;  /* that there are, that there is memory for */
    int64_t stride;      /* of rows before they are rotated */
    const float *tables; /* [frames][most, head_dim] */
    const float *x;      /* forward */
    float *rotated;      /* [frames][most, heads, head_dim] */
    const float *dr;     /* back: the gradient by `rotated` */
    float *dx;
};

static struct turning queries_of(const struct attention_job *job)
{
    const struct pass *pass = job->pass;
    return (struct turning){
        .job = job,
        .frames = pass->sight.tables[0].bands.query_frames,
        .heads = pass->options.spec->heads,
        .rows = pass->rows,
        .most = pass->rows_most,
        .stride = pass->tape.widths[LAYER_QKV],
        .tables = pass->query_tables,
        .x = job->qkv,
        .rotated = pass->queries,
        .dr = pass->query_gradients,
        .dx = job->dqkv,
    };
}

static struct turning keys_of(const struct attention_job *job)
{
    const struct pass *pass = job->pass;
    return (struct turning){
        .job = job,
        .frames = pass->sight.tables[0].bands.key_frames,
        .heads = pass->options.spec->kv_heads,
        .rows = pass->keys,
        .most = pass->keys_most,
        .stride = pass_pair_width(pass),
        .tables = pass->key_tables,
        .x = pass->pairs,
        .rotated = pass->rotated,
        .dr = pass->rotated_gradients,
        .dx = pass->pair_gradients,
    };
}

static struct rope_args turn_args(const struct turning *turning, int frame, size_t item)
{
    const int head_dim = turning->job->pass->options.spec->head_dim;
    const int64_t row = frame * turning->most + (int64_t)item * PASS_BLOCK_ROWS;
    return (struct rope_args){
        .table = turning->tables + row * head_dim,
        .tokens = rows_of(turning->rows, item),
        .heads = turning->heads,
        .head_dim = head_dim,
    };
}

static void turn_block(void *context, int thread, size_t item)
{
    const struct turning *turning = context;
    const struct pass *pass = turning->job->pass;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS;
    const int64_t width = (int64_t)turning->heads * pass->options.spec->head_dim;
    (void)thread;
    for (int f = 0; f < turning->frames; f++) {
        struct rope_args args = turn_args(turning, f, item);
        args.out = turning->rotated + (f * turning->most + row) * width;
        args.out_stride = width;
        args.x = turning->x + row * turning->stride;
        args.x_stride = turning->stride;
        pass->options.kernels->rope_keys(&args);
    }
}

static void turn_block_back(void *context, int thread, size_t item)
{
    const struct turning *turning = context;
    const struct pass *pass = turning->job->pass;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS;
    const int64_t width = (int64_t)turning->heads * pass->options.spec->head_dim;
    (void)thread;
    for (int f = 0; f < turning->frames; f++) {
        struct rope_args args = turn_args(turning, f, item);
        args.out = turning->dx + row * turning->stride;
        args.out_stride = turning->stride;
        args.x = turning->dr + (f * turning->most + row) * width;
        args.x_stride = width;
        pass->options.kernels->rope_gradient(&args, f > 0);
    }
}

static void turn(struct turning turning, thread_pool_work *block)
{
    pass_for_blocks(turning.job->pass, turning.rows, block, &turning);
}

/* Leaves rotated queries and keys of the layer, those of other ranks too. */
static enum status gather_keys(struct pass *pass, struct attention_job *job)
{
    take_pairs(pass, job->qkv);
    TRY(pass_exchange_pairs(pass));
    turn(queries_of(job), turn_block);
    turn(keys_of(job), turn_block);
    return STATUS_OK;
}

/* ---- tiles ---- */

/* The next tile at or behind `index`: consecutive tokens of one piece and one panel; false where
 * there is none. */
static bool next_tile(const struct pass *pass, bool own, int64_t index, struct span *tokens,
                      int64_t *place)
{
    for (int p = 0; p < pass->piece_count; p++) {
        const struct pass_piece *piece = &pass->pieces[p];
        if (piece->keys.end <= index || (own && piece->row < 0))
            continue;
        tokens->first = index > piece->keys.first ? index : piece->keys.first;
        tokens->end = (tokens->first / PASS_PANEL + 1) * PASS_PANEL;
        if (tokens->end > piece->keys.end)
            tokens->end = piece->keys.end;
        *place = (own ? piece->row : piece->place) + tokens->first - piece->keys.first;
        return true;
    }
    return false;
}

struct tile {
    struct attention_gradient_tile call;
    struct attention_spans spans;
    struct span queries, keys;
    int64_t row, key; /* of the first ones */
    int64_t head;     /* the group's first query head */
    int kv_head;
};

static struct attention_gradient_tile tile_call(const struct pass *pass, const struct tile *tile,
                                                int thread)
{
    const struct model_spec *spec = pass->options.spec;
    const int64_t heads_width = (int64_t)spec->heads * spec->head_dim, pair = pass_pair_width(pass);
    return (struct attention_gradient_tile){
        .spans = &tile->spans,
        .tokens = tile->queries.end - tile->queries.first,
        .keys = tile->keys.end - tile->keys.first,
        .group = spec->heads / spec->kv_heads,
        .head_dim = spec->head_dim,
        .scale_log2 = pass->scale_log2,
        .q = pass->queries + tile->row * heads_width + tile->head * spec->head_dim,
        .q_frame_stride = pass->rows_most * heads_width,
        .q_stride = heads_width,
        .k = pass->rotated + tile->key * pair / 2 + (int64_t)tile->kv_head * spec->head_dim,
        .k_frame_stride = pass->keys_most * pair / 2,
        .k_stride = pair / 2,
        .v = pass->pairs + tile->key * pair + pair / 2 + (int64_t)tile->kv_head * spec->head_dim,
        .v_stride = pair,
        .scratch = pass->tile_scratch + (size_t)thread * pass->tile_scratch_bytes,
    };
}

static void set_head(const struct pass *pass, struct tile *tile, int kv_head)
{
    tile->kv_head = kv_head;
    tile->head = (int64_t)kv_head * (pass->options.spec->heads / pass->options.spec->kv_heads);
}

static void tile_forward(const struct attention_job *job, struct tile *tile, int thread)
{
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t at = tile->row * spec->heads + tile->head;
    const struct attention_gradient_tile call = tile_call(pass, tile, thread);
    pass->options.kernels->attention_gradient_forward(
        &call, &(struct attention_gradient_state){
                   .acc = job->out + at * spec->head_dim,
                   .acc_stride = (int64_t)spec->heads * spec->head_dim,
                   .max = job->logsumexp + at,
                   .sum = pass->sums + at,
                   .row_stride = spec->heads,
               });
}

static void tile_back(const struct attention_job *job, struct tile *tile, int thread)
{
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t at = tile->row * spec->heads + tile->head;
    const struct attention_gradient_tile call = tile_call(pass, tile, thread);
    pass->options.kernels->attention_gradient_backward(
        &call, &(struct attention_gradient_flow){
                   .dout = job->dout + at * spec->head_dim,
                   .dout_stride = (int64_t)spec->heads * spec->head_dim,
                   .logsumexp = job->logsumexp + at,
                   .dot = pass->dots + at,
                   .row_stride = spec->heads,
                   .dq = pass->query_gradients + (call.q - pass->queries),
                   .dk = pass->rotated_gradients + (call.k - pass->rotated),
                   .dv = pass->pair_gradients + (call.v - pass->pairs),
               });
}

/* All keys of a tile of queries, or those of every PASS_PARTS-th panel from `part` on. */
static void meet_keys(const struct attention_job *job, struct tile *tile, int part, int parts,
                      void (*meet)(const struct attention_job *, struct tile *, int), int thread)
{
    const struct pass *pass = job->pass;
    const struct sight_table *table = sight_of(&pass->sight, job->layer, tile->kv_head);
    int64_t index = 0;
    while (next_tile(pass, false, index, &tile->keys, &tile->key) &&
           tile->keys.first < tile->queries.end) {
        index = tile->keys.end;
        if (tile->keys.first / PASS_PANEL % parts != part)
            continue;
        attention_spans_make(&tile->spans, &table->regimes, pass->sample.positions, tile->queries,
                             tile->keys);
        if (tile->spans.count > 0)
            meet(job, tile, thread);
    }
}

/* Query tiles of the sample's panels `item / kv_heads`, and one KV head. */
static void attend_tile(void *context, int thread, size_t item)
{
    const struct attention_job *job = context;
    const struct pass *pass = job->pass;
    const size_t kv_heads = (size_t)pass->options.spec->kv_heads;
    const int64_t panel = (int64_t)(item / kv_heads);
    struct tile tile;
    set_head(pass, &tile, (int)(item % kv_heads));
    if (next_tile(pass, true, panel * PASS_PANEL, &tile.queries, &tile.row) &&
        tile.queries.first / PASS_PANEL == panel)
        meet_keys(job, &tile, 0, 1, tile_forward, thread);
}

/* Of queries in every PASS_PARTS-th panel: those keys whose turn it is. */
static void attend_back_part(void *context, int thread, size_t item)
{
    const struct attention_job *job = context;
    const struct pass *pass = job->pass;
    const int part = (int)(item % PASS_PARTS);
    int64_t index = 0;
    struct tile tile;
    set_head(pass, &tile, (int)(item / PASS_PARTS));
    while (next_tile(pass, true, index, &tile.queries, &tile.row)) {
        index = tile.queries.end;
        if (tile.queries.first / PASS_PANEL % PASS_PARTS == part)
            meet_keys(job, &tile, (part + job->part) % PASS_PARTS, PASS_PARTS, tile_back, thread);
    }
}

static void alive(void *context)
{
    const struct attention_job *job = context;
    transport_mark(job->pass->options.transport);
}

/* ---- the op ---- */

static struct attention_job job_of(const struct pass *pass, int op, int layer)
{
    const struct tape_op *step = &pass->tape.ops[op];
    const int held = pass->options.recompute ? 0 : layer;
    return (struct attention_job){
        .pass = pass,
        .layer = layer,
        .qkv = pass_value(pass, layer, step->input),
        .out = pass_value(pass, layer, step->output),
        .logsumexp = pass->logsumexp + held * pass->rows_most * pass->options.spec->heads,
        .dqkv = pass->gradients[LAYER_QKV],
        .dout = pass->gradients[LAYER_MIXED],
    };
}

enum status pass_attend(struct pass *pass, int op, int layer)
{
    struct attention_job job = job_of(pass, op, layer);
    const struct model_spec *spec = pass->options.spec;
    const int64_t states = pass->rows * spec->heads;
    const int64_t panels = (pass->sample.count + PASS_PANEL - 1) / PASS_PANEL;
    TRY(gather_keys(pass, &job));
    memset(job.out, 0, (size_t)(states * spec->head_dim) * sizeof(float));
    for (int64_t s = 0; s < states; s++) {
        job.logsumexp[s] = -INFINITY;
        pass->sums[s] = 0;
    }
    thread_pool_run(pass->options.pool, (size_t)(panels * spec->kv_heads), attend_tile, alive,
                    &job);
    pass->options.kernels->attention_gradient_finish(job.out, job.logsumexp, pass->sums, states,
                                                     spec->head_dim);
    return STATUS_OK;
}

static void clear_gradients(const struct pass *pass)
{
    const struct bands *bands = &pass->sight.tables[0].bands;
    const struct model_spec *spec = pass->options.spec;
    const int64_t heads_width = (int64_t)spec->heads * spec->head_dim, pair = pass_pair_width(pass);
    for (int f = 0; f < bands->query_frames; f++)
        memset(pass->query_gradients + f * pass->rows_most * heads_width, 0,
               (size_t)(pass->rows * heads_width) * sizeof(float));
    for (int f = 0; f < bands->key_frames; f++)
        memset(pass->rotated_gradients + f * pass->keys_most * pair / 2, 0,
               (size_t)(pass->keys * pair / 2) * sizeof(float));
    memset(pass->pair_gradients, 0, (size_t)(pass->keys * pair) * sizeof(float));
}

static void give_pairs(const struct pass *pass, float *dqkv)
{
    const int64_t width = pass->tape.widths[LAYER_QKV], pair = pass_pair_width(pass);
    for (int p = 0; p < pass->piece_count; p++) {
        const struct pass_piece *piece = &pass->pieces[p];
        for (int64_t t = 0; piece->row >= 0 && t < piece->keys.end - piece->keys.first; t++)
            memcpy(dqkv + (piece->row + t) * width + width - pair,
                   pass->pair_gradients + (piece->place + t) * pair, (size_t)pair * sizeof(float));
    }
}

enum status pass_attend_back(struct pass *pass, int op, int layer)
{
    struct attention_job job = job_of(pass, op, layer);
    const struct model_spec *spec = pass->options.spec;
    if (!pass->options.recompute) /* else they are as the layer's way forward has just left them */
        TRY(gather_keys(pass, &job));
    pass->options.kernels->attention_gradient_dots(pass->dots, job.dout, job.out,
                                                   pass->rows * spec->heads, spec->head_dim);
    clear_gradients(pass);
    for (job.part = 0; job.part < PASS_PARTS; job.part++)
        thread_pool_run(pass->options.pool, (size_t)(spec->kv_heads * PASS_PARTS), attend_back_part,
                        alive, &job);
    turn(queries_of(&job), turn_block_back);
    turn(keys_of(&job), turn_block_back);
    TRY(pass_return_gradients(pass));
    give_pairs(pass, job.dqkv);
    return STATUS_OK;
}
