/* Owns what this rank has of a sample: its rows, the keys that they see, and the messages that
 * bring them and take their gradients back.
 *
 * Keys and values travel as they leave the layer's products, before they are rotated, so that a
 * message has the same bytes whatever frames the method has. On the way back they travel again: to
 * keep those of all layers would take as much memory on every rank as the whole sample's do.
 */
#include "worker/trainer/pass_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- who has what ---- */

static enum status add_piece(struct pass *pass, struct span keys, int owner)
{
    if (pass->piece_count == pass->piece_capacity) {
        const int capacity = pass->piece_capacity ? 2 * pass->piece_capacity : 16;
        struct pass_piece *pieces = realloc(pass->pieces, (size_t)capacity * sizeof *pieces);
        if (!pieces)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d pieces of a sample", capacity);
        pass->pieces = pieces;
        pass->piece_capacity = capacity;
    }
    const bool own = owner == pass->options.transport->rank;
    pass->pieces[pass->piece_count++] =
        (struct pass_piece){keys, owner, pass->keys, own ? pass->rows : -1};
    for (int64_t index = keys.first; own && index < keys.end; index++)
        pass->index[pass->rows++] = index;
    pass->keys += keys.end - keys.first;
    return STATUS_OK;
}

/* Own spans and what others send, by index. */
static enum status find_pieces(struct pass *pass)
{
    const int rank = pass->options.transport->rank;
    struct owned_span owned;
    int64_t index = 0;
    int m = 0;
    pass->rows = pass->keys = 0;
    pass->piece_count = 0;
    while (m < pass->exchange.count && pass->exchange.list[m].to != rank)
        m++;
    while (ownership_next(pass->ownership, &index, pass->sample.count, &owned)) {
        if (owned.owner == rank)
            TRY(add_piece(pass, owned.span, rank));
        for (; m < pass->exchange.count && pass->exchange.list[m].to == rank &&
               pass->exchange.list[m].keys.first < owned.span.end;
             m++)
            TRY(add_piece(pass, pass->exchange.list[m].keys, owned.owner));
    }
    return STATUS_OK;
}

static const struct pass_piece *piece_of(const struct pass *pass, int64_t index)
{
    const struct pass_piece *piece = pass->pieces;
    while (piece->keys.end <= index)
        piece++;
    return piece;
}

static enum status reserve_requests(struct pass *pass)
{
    if (pass->exchange.count <= pass->requests_capacity)
        return STATUS_OK;
    struct transport_request **requests =
        realloc(pass->requests, (size_t)pass->exchange.count * sizeof *requests);
    if (!requests)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d messages of keys",
                    pass->exchange.count);
    pass->requests = requests;
    pass->requests_capacity = pass->exchange.count;
    return STATUS_OK;
}

/* ---- positions ---- */

static void fill_table(const struct pass *pass, float *table, const struct bands_frame *frame,
                       int64_t first, int64_t count, double logn)
{
    const int head_dim = pass->options.spec->head_dim;
    for (int64_t t = 0; t < count; t++) {
        const int64_t position = pass->sample.positions[first + t];
        const struct rope_place place = {bands_position(frame, position),
                                         pass->rotation.magnitude * rope_logn(logn, position)};
        rope_table(table + t * head_dim, &place, 1, pass->rotation.inv_freq, head_dim / 2);
    }
}

static void fill_tables(struct pass *pass)
{
    const struct bands *bands = &pass->sight.tables[0].bands;
    const int64_t head_dim = pass->options.spec->head_dim;
    for (int p = 0; p < pass->piece_count; p++) {
        const struct pass_piece *piece = &pass->pieces[p];
        const int64_t count = piece->keys.end - piece->keys.first;
        for (int f = 0; f < bands->key_frames; f++)
            fill_table(pass, pass->key_tables + (f * pass->keys_most + piece->place) * head_dim,
                       &bands->key_frame[f], piece->keys.first, count, 0);
        for (int f = 0; piece->row >= 0 && f < bands->query_frames; f++)
            fill_table(pass, pass->query_tables + (f * pass->rows_most + piece->row) * head_dim,
                       &bands->query_frame[f], piece->keys.first, count, pass->rotation.logn);
    }
}

enum status pass_deal(struct pass *pass)
{
    ownership_clear(pass->ownership);
    TRY(ownership_advance(pass->ownership, pass->sample.count, PARTITION_ZIGZAG, NULL));
    TRY(key_exchange_make(&pass->exchange, pass->ownership, &pass->sight.tables[0].regimes,
                          pass->sample.positions));
    TRY(find_pieces(pass));
    TRY(reserve_requests(pass));
    fill_tables(pass);
    return STATUS_OK;
}

/* ---- messages ---- */

static int64_t pair_width(const struct pass *pass)
{
    return 2 * (int64_t)pass->options.spec->kv_heads * pass->options.spec->head_dim;
}

static float *pair_at(const struct pass *pass, float *pairs, int64_t index)
{
    const struct pass_piece *piece = piece_of(pass, index);
    return pairs + (piece->place + index - piece->keys.first) * pair_width(pass);
}

static size_t message_bytes(const struct pass *pass, const struct key_message *message)
{
    return (size_t)((message->keys.end - message->keys.first) * pair_width(pass)) * sizeof(float);
}

static enum status wait_all(const struct pass *pass, int count)
{
    for (int r = 0; r < count; r++)
        TRY(transport_wait(pass->options.transport, pass->requests[r]));
    return STATUS_OK;
}

/* Own keys and values to those that see them, theirs to here. */
static enum status exchange_pairs(struct pass *pass)
{
    struct transport *t = pass->options.transport;
    int count = 0;
    for (int m = 0; m < pass->exchange.count; m++) {
        const struct key_message *message = &pass->exchange.list[m];
        const size_t bytes = message_bytes(pass, message);
        if (message->to == t->rank)
            TRY(transport_receive(t, message->from, TRANSPORT_KEYS,
                                  pair_at(pass, pass->pairs, message->keys.first), bytes,
                                  &pass->requests[count++]));
        else if (message->from == t->rank)
            TRY(transport_send(t, message->to, TRANSPORT_KEYS,
                               pair_at(pass, pass->pairs, message->keys.first), bytes,
                               &pass->requests[count++]));
    }
    return wait_all(pass, count);
}

/* The same messages the other way; what comes is added in the order of the ranks that it comes
 * from. */
static enum status return_gradients(struct pass *pass)
{
    struct transport *t = pass->options.transport;
    float *returned = pass->returned;
    int count = 0;
    for (int m = 0; m < pass->exchange.count; m++) {
        const struct key_message *message = &pass->exchange.list[m];
        const size_t bytes = message_bytes(pass, message);
        if (message->to == t->rank)
            TRY(transport_send(t, message->from, TRANSPORT_KEYS,
                               pair_at(pass, pass->pair_gradients, message->keys.first), bytes,
                               &pass->requests[count++]));
        if (message->from != t->rank)
            continue;
        TRY(transport_receive(t, message->to, TRANSPORT_KEYS, returned, bytes,
                              &pass->requests[count++]));
        returned += bytes / sizeof(float);
    }
    TRY(wait_all(pass, count));
    returned = pass->returned;
    for (int m = 0; m < pass->exchange.count; m++) {
        const struct key_message *message = &pass->exchange.list[m];
        const int64_t floats = (int64_t)(message_bytes(pass, message) / sizeof(float));
        if (message->from != t->rank)
            continue;
        pass->options.kernels->add(pair_at(pass, pass->pair_gradients, message->keys.first),
                                   returned, floats);
        returned += floats;
    }
    return STATUS_OK;
}

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
    const int64_t width = pass->tape.widths[LAYER_QKV], pair = pair_width(pass);
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

static void rotate_queries(void *context, int thread, size_t item)
{
    const struct attention_job *job = context;
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS, width = pass->tape.widths[LAYER_QKV];
    const int64_t heads_width = (int64_t)spec->heads * spec->head_dim;
    (void)thread;
    for (int f = 0; f < pass->sight.tables[0].bands.query_frames; f++)
        pass->options.kernels->rope_keys(&(struct rope_args){
            .out = pass->queries + (f * pass->rows_most + row) * heads_width,
            .out_stride = heads_width,
            .x = job->qkv + row * width,
            .x_stride = width,
            .table = pass->query_tables + (f * pass->rows_most + row) * spec->head_dim,
            .tokens = rows_of(pass->rows, item),
            .heads = spec->heads,
            .head_dim = spec->head_dim,
        });
}

static void rotate_keys(void *context, int thread, size_t item)
{
    const struct attention_job *job = context;
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t key = (int64_t)item * PASS_BLOCK_ROWS, pair = pair_width(pass);
    (void)thread;
    for (int f = 0; f < pass->sight.tables[0].bands.key_frames; f++)
        pass->options.kernels->rope_keys(&(struct rope_args){
            .out = pass->rotated + (f * pass->keys_most + key) * pair / 2,
            .out_stride = pair / 2,
            .x = pass->pairs + key * pair,
            .x_stride = pair,
            .table = pass->key_tables + (f * pass->keys_most + key) * spec->head_dim,
            .tokens = rows_of(pass->keys, item),
            .heads = spec->kv_heads,
            .head_dim = spec->head_dim,
        });
}

static void rotate_queries_back(void *context, int thread, size_t item)
{
    const struct attention_job *job = context;
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t row = (int64_t)item * PASS_BLOCK_ROWS, width = pass->tape.widths[LAYER_QKV];
    const int64_t heads_width = (int64_t)spec->heads * spec->head_dim;
    (void)thread;
    for (int f = 0; f < pass->sight.tables[0].bands.query_frames; f++)
        pass->options.kernels->rope_gradient(
            &(struct rope_args){
                .out = job->dqkv + row * width,
                .out_stride = width,
                .x = pass->query_gradients + (f * pass->rows_most + row) * heads_width,
                .x_stride = heads_width,
                .table = pass->query_tables + (f * pass->rows_most + row) * spec->head_dim,
                .tokens = rows_of(pass->rows, item),
                .heads = spec->heads,
                .head_dim = spec->head_dim,
            },
            f > 0);
}

static void rotate_keys_back(void *context, int thread, size_t item)
{
    const struct attention_job *job = context;
    const struct pass *pass = job->pass;
    const struct model_spec *spec = pass->options.spec;
    const int64_t key = (int64_t)item * PASS_BLOCK_ROWS, pair = pair_width(pass);
    (void)thread;
    for (int f = 0; f < pass->sight.tables[0].bands.key_frames; f++)
        pass->options.kernels->rope_gradient(
            &(struct rope_args){
                .out = pass->pair_gradients + key * pair,
                .out_stride = pair,
                .x = pass->rotated_gradients + (f * pass->keys_most + key) * pair / 2,
                .x_stride = pair / 2,
                .table = pass->key_tables + (f * pass->keys_most + key) * spec->head_dim,
                .tokens = rows_of(pass->keys, item),
                .heads = spec->kv_heads,
                .head_dim = spec->head_dim,
            },
            f > 0);
}

/* Leaves rotated queries and keys of the layer, those of other ranks too. */
static enum status gather_keys(struct pass *pass, struct attention_job *job)
{
    take_pairs(pass, job->qkv);
    TRY(exchange_pairs(pass));
    pass_for_blocks(pass, pass->rows, rotate_queries, job);
    pass_for_blocks(pass, pass->keys, rotate_keys, job);
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
    const int64_t heads_width = (int64_t)spec->heads * spec->head_dim, pair = pair_width(pass);
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
    const int64_t heads_width = (int64_t)spec->heads * spec->head_dim, pair = pair_width(pass);
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
    const int64_t width = pass->tape.widths[LAYER_QKV], pair = pair_width(pass);
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
    pass_for_blocks(pass, pass->rows, rotate_queries_back, &job);
    pass_for_blocks(pass, pass->keys, rotate_keys_back, &job);
    TRY(return_gradients(pass));
    give_pairs(pass, job.dqkv);
    return STATUS_OK;
}
