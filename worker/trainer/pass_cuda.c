/* Owns the memory of a pass on a GPU, what of a sample crosses to it, and attention there. Promises
 * that the host waits once a sample, for its loss: what is pinned is not written anew before. */
#include <stdlib.h>
#include <string.h>

#include "worker/trainer/pass_cuda_parts.h"

enum status pass_cuda_launched(const struct pass *pass, int code, const char *kernel)
{
    return pass->cuda->streams->runtime->launched(code, kernel);
}

enum status pass_cuda_copy(const struct pass *pass, void *to, const void *from, size_t bytes)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    return streams->runtime->copy(to, from, bytes, streams->compute);
}

/* ---- memory ---- */

static void take_crossing(const struct pass *pass, struct pass_cuda_crossing *crossing,
                          struct pass_taker *taker)
{
    const int64_t rows = pass->rows_most;
    crossing->row_positions = pass_take(taker, rows, sizeof *crossing->row_positions);
    crossing->key_positions = pass_take(taker, pass->keys_most, sizeof *crossing->key_positions);
    crossing->ids = pass_take(taker, rows, sizeof *crossing->ids);
    crossing->targets = pass_take(taker, rows, sizeof *crossing->targets);
    crossing->tokens = pass_take(taker, rows, sizeof *crossing->tokens);
    crossing->first = pass_take(taker, rows + 1, sizeof *crossing->first);
    crossing->order = pass_take(taker, rows, sizeof *crossing->order);
    crossing->losses = pass_take(taker, rows, sizeof *crossing->losses);
    for (int t = 0; t < pass->sight.count; t++) {
        const int64_t count = pass->sight.tables[t].regimes.count * rows;
        crossing->ranges[t].first = pass_take(taker, count, sizeof(int32_t));
        crossing->ranges[t].end = pass_take(taker, count, sizeof(int32_t));
    }
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void take(struct pass *pass, struct pass_taker *taker)
{
    const struct model_spec *spec = pass->options.spec;
    const struct bands *bands = &pass->sight.tables[0].bands;
    struct pass_cuda *cuda = pass->cuda;
    const int64_t rows = pass->rows_most, keys = pass->keys_most;
    const int64_t wide = (int64_t)spec->heads * spec->head_dim;
    const int64_t narrow = (int64_t)spec->kv_heads * spec->head_dim;
    int64_t widest = spec->hidden, matrix = 0;
    for (int p = 0; p < pass->options.parameters->count; p++) {
        const struct parameters_row *row = &pass->options.parameters->list[p];
        matrix = larger(matrix, row->rows * row->columns);
    }
    for (int b = 0; b < LAYER_BUFFERS; b++)
        widest = larger(widest, pass->tape.widths[b]);
    const int64_t side = larger(rows * widest, PASS_HEAD_ROWS * (int64_t)spec->vocab);
    pass_take_activations(pass, taker);
    cuda->queries = pass_take(taker, bands->query_frames * rows * wide, sizeof(uint16_t));
    cuda->keys = pass_take(taker, bands->key_frames * keys * narrow, sizeof(uint16_t));
    cuda->values = pass_take(taker, keys * narrow, sizeof(uint16_t));
    cuda->flow = pass_take(taker, rows * wide, sizeof(uint16_t));
    cuda->left = pass_take(taker, side, sizeof(uint16_t));
    cuda->right = pass_take(taker, rows * widest, sizeof(uint16_t));
    cuda->matrix = pass_take(taker, matrix, sizeof(uint16_t));
    cuda->value_gradients = pass_take(taker, keys * narrow, sizeof(float));
}

static enum status allocate(struct pass *pass)
{
    struct pass_cuda *cuda = pass->cuda;
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    struct pass_taker taker = {NULL, 0}, crossing = {NULL, 0};
    void *pinned, *crossed;
    take(pass, &taker);
    take_crossing(pass, &cuda->here, &crossing);
    pass->bytes = taker.bytes + crossing.bytes + runtime->workspace_bytes;
    cuda->crossing_bytes = crossing.bytes;
    TRY(runtime->allocate(&pass->memory, taker.bytes));
    TRY(runtime->allocate(&cuda->workspace, runtime->workspace_bytes));
    TRY(runtime->allocate(&crossed, crossing.bytes));
    cuda->crossed = crossed;
    TRY(runtime->host_allocate(&pinned, crossing.bytes));
    cuda->pinned = pinned;
    memset(pinned, 0, crossing.bytes);
    taker = (struct pass_taker){pass->memory, 0};
    take(pass, &taker);
    crossing = (struct pass_taker){cuda->pinned, 0};
    take_crossing(pass, &cuda->here, &crossing);
    crossing = (struct pass_taker){cuda->crossed, 0};
    take_crossing(pass, &cuda->there, &crossing);
    return STATUS_OK;
}

/* What rounding and cuBLASLt's operands ask of rows. */
static enum status check(const struct pass *pass)
{
    const struct parameters *parameters = pass->options.parameters;
    if (!pass->options.bf16)
        return fail(STATUS_INVALID_ARGUMENT,
                    "a GPU multiplies bf16 in training: say training.compute: bf16, or train on "
                    "the CPU");
    for (int p = 0; p < parameters->count; p++) {
        const struct parameters_row *row = &parameters->list[p];
        if (!row->is_vector && (row->rows % 8 != 0 || row->columns % 8 != 0))
            return fail(STATUS_UNIMPLEMENTED,
                        "a matrix of %lld x %lld cannot be trained on a GPU, whose rows are "
                        "multiples of 8: train on the CPU",
                        (long long)row->rows, (long long)row->columns);
    }
    return STATUS_OK;
}

static enum status open(struct pass *pass)
{
    TRY(check(pass));
    pass->cuda = calloc(1, sizeof *pass->cuda);
    if (!pass->cuda)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a training pass");
    pass->cuda->streams = pass->options.streams;
    return allocate(pass);
}

static void close(struct pass *pass)
{
    struct pass_cuda *cuda = pass->cuda;
    if (!cuda)
        return;
    const struct cuda_runtime *runtime = cuda->streams->runtime;
    runtime->host_release(cuda->pinned);
    runtime->release(cuda->crossed);
    runtime->release(cuda->workspace);
    runtime->release(pass->memory);
    free(cuda);
}

/* ---- a sample ---- */

static const struct pass_piece *piece_of(const struct pass *pass, int64_t index)
{
    const struct pass_piece *piece = pass->pieces;
    while (piece->keys.end <= index)
        piece++;
    return piece;
}

/* What a row sees lies in one range of indices, all of which this rank has: so it is one range of
 * places. */
static enum status fill_ranges(struct pass *pass, int table)
{
    const struct regimes *regimes = &pass->sight.tables[table].regimes;
    const struct pass_cuda_ranges *ranges = &pass->cuda->here.ranges[table];
    const struct span all = {0, pass->sample.count};
    int32_t *first = calloc((size_t)(2 * all.end), sizeof *first), *end = first + all.end;
    if (!first)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for what %lld tokens see",
                    (long long)all.end);
    for (int32_t g = 0; g < regimes->count; g++) {
        attention_spans_ranges(first, end, &regimes->list[g], pass->sample.positions, all, all);
        for (int64_t r = 0; r < pass->rows; r++) {
            const int64_t i = pass->index[r], at = g * pass->rows + r;
            ranges->first[at] = ranges->end[at] = 0;
            if (first[i] == end[i])
                continue;
            const struct pass_piece *piece = piece_of(pass, first[i]);
            ranges->first[at] = (int32_t)(piece->place + first[i] - piece->keys.first);
            ranges->end[at] = ranges->first[at] + end[i] - first[i];
        }
    }
    free(first);
    return STATUS_OK;
}

/* A row's id and its number, to be sorted. */
static int compare(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Rows by token, those of a token in ascending order. */
static enum status fill_tokens(struct pass *pass)
{
    struct pass_cuda_crossing *here = &pass->cuda->here;
    int64_t *keys = calloc((size_t)(pass->rows + 1), sizeof *keys);
    int32_t count = 0;
    if (!keys)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to sort a sample's tokens");
    for (int64_t r = 0; r < pass->rows; r++)
        keys[r] = (int64_t)here->ids[r] << 32 | r;
    qsort(keys, (size_t)pass->rows, sizeof *keys, compare);
    for (int64_t r = 0; r < pass->rows; r++) {
        const int32_t id = (int32_t)(keys[r] >> 32);
        here->order[r] = (int32_t)(keys[r] & 0xffffffff);
        if (count > 0 && here->tokens[count - 1] == id)
            continue;
        here->tokens[count] = id;
        here->first[count++] = (int32_t)r;
    }
    here->first[count] = (int32_t)pass->rows;
    pass->cuda->tokens_count = count;
    free(keys);
    return STATUS_OK;
}

static enum status make_table(struct pass *pass, bool queries)
{
    const struct bands *bands = &pass->sight.tables[0].bands;
    const struct cuda_streams *streams = pass->cuda->streams;
    struct kernels_cuda_rope_table args = {
        .table = queries ? pass->query_tables : pass->key_tables,
        .indices = queries ? pass->cuda->there.row_positions : pass->cuda->there.key_positions,
        .query_frames = queries ? bands->query_frames : 0,
        .logn = pass->rotation.logn,
        .frame_count = queries ? bands->query_frames : bands->key_frames,
        .rows = queries ? pass->rows : pass->keys,
        .half = pass->options.spec->head_dim / 2,
        .magnitude = pass->rotation.magnitude,
    };
    memcpy(args.inv_freq, pass->rotation.inv_freq, (size_t)args.half * sizeof *args.inv_freq);
    memcpy(args.frames, queries ? bands->query_frame : bands->key_frame,
           (size_t)args.frame_count * sizeof *args.frames);
    return pass_cuda_launched(pass, streams->kernels->rope_table(&args, streams->compute),
                              "rope_table");
}

static enum status deal(struct pass *pass)
{
    struct pass_cuda *cuda = pass->cuda;
    struct pass_cuda_crossing *here = &cuda->here;
    pass_find_targets(pass);
    for (int64_t r = 0; r < pass->rows; r++) {
        here->row_positions[r] = pass->sample.positions[pass->index[r]];
        here->ids[r] = pass->sample.ids[pass->index[r]];
        here->targets[r] = pass->targets[r];
    }
    for (int p = 0; p < pass->piece_count; p++)
        for (int64_t i = pass->pieces[p].keys.first; i < pass->pieces[p].keys.end; i++)
            here->key_positions[pass->pieces[p].place + i - pass->pieces[p].keys.first] =
                pass->sample.positions[i];
    for (int t = 0; t < pass->sight.count; t++)
        TRY(fill_ranges(pass, t));
    TRY(fill_tokens(pass));
    TRY(pass_cuda_copy(pass, cuda->crossed, cuda->pinned, cuda->crossing_bytes));
    TRY(make_table(pass, true));
    return make_table(pass, false);
}

/* ---- attention ---- */

struct widths {
    int64_t qkv, pair, wide, narrow; /* floats of a row: all, K and V, all heads, the KV heads */
};

static struct widths widths_of(const struct pass *pass)
{
    const struct model_spec *spec = pass->options.spec;
    return (struct widths){pass->tape.widths[LAYER_QKV], pass_pair_width(pass),
                           (int64_t)spec->heads * spec->head_dim,
                           (int64_t)spec->kv_heads * spec->head_dim};
}

static enum status copy_rows(struct pass *pass, float *out, int64_t out_stride, const float *x,
                             int64_t x_stride, int64_t rows, int64_t width)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const struct kernels_cuda_copy_rows args = {out, out_stride, x, x_stride, rows, width};
    return pass_cuda_launched(pass, streams->kernels->copy_rows(&args, streams->compute),
                              "copy_rows");
}

/* K and V of this rank's rows to where all keys lie, or their gradients back. */
static enum status move_pairs(struct pass *pass, float *rows, float *pairs, bool back)
{
    const struct widths w = widths_of(pass);
    for (int p = 0; p < pass->piece_count; p++) {
        const struct pass_piece *piece = &pass->pieces[p];
        float *row = rows + piece->row * w.qkv + w.qkv - w.pair;
        float *pair = pairs + piece->place * w.pair;
        const int64_t count = piece->keys.end - piece->keys.first;
        if (piece->row < 0)
            continue;
        TRY(back ? copy_rows(pass, row, w.qkv, pair, w.pair, count, w.pair)
                 : copy_rows(pass, pair, w.pair, row, w.qkv, count, w.pair));
    }
    return STATUS_OK;
}

static enum status rotate(struct pass *pass, bool queries, const float *x, int64_t stride)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const struct bands *bands = &pass->sight.tables[0].bands;
    const struct widths w = widths_of(pass);
    const int64_t rows = queries ? pass->rows : pass->keys;
    const struct kernels_cuda_rope_queries args = {
        .out = queries ? pass->cuda->queries : pass->cuda->keys,
        .frame_stride = queries ? pass->rows_most * w.wide : pass->keys_most * w.narrow,
        .q = x,
        .q_stride = stride,
        .table = queries ? pass->query_tables : pass->key_tables,
        .table_stride = rows * pass->options.spec->head_dim,
        .frame_count = queries ? bands->query_frames : bands->key_frames,
        .rows = rows,
        .heads = queries ? pass->options.spec->heads : pass->options.spec->kv_heads,
        .head_dim = pass->options.spec->head_dim,
        .operand = DTYPE_BF16,
    };
    return pass_cuda_launched(pass, streams->kernels->rope_queries(&args, streams->compute),
                              "rope_queries");
}

static enum status rotate_back(struct pass *pass, bool queries, float *dx, int64_t stride)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const struct bands *bands = &pass->sight.tables[0].bands;
    const struct widths w = widths_of(pass);
    const int64_t rows = queries ? pass->rows : pass->keys;
    const struct kernels_cuda_rope_gradient args = {
        .out = dx,
        .out_stride = stride,
        .x = queries ? pass->query_gradients : pass->rotated_gradients,
        .frame_stride = queries ? pass->rows_most * w.wide : pass->keys_most * w.narrow,
        .table = queries ? pass->query_tables : pass->key_tables,
        .table_stride = rows * pass->options.spec->head_dim,
        .frame_count = queries ? bands->query_frames : bands->key_frames,
        .rows = rows,
        .heads = queries ? pass->options.spec->heads : pass->options.spec->kv_heads,
        .head_dim = pass->options.spec->head_dim,
    };
    return pass_cuda_launched(pass, streams->kernels->rope_gradient(&args, streams->compute),
                              "rope_gradient");
}

static enum status round_rows(struct pass *pass, uint16_t *out, const float *x, int64_t stride,
                              int64_t rows, int64_t width)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const struct kernels_cuda_round args = {out, DTYPE_BF16, x, stride, rows, width};
    return pass_cuda_launched(pass, streams->kernels->round(&args, streams->compute), "round");
}

/* Leaves operands of the layer's queries, keys and values, those of other ranks too. */
static enum status gather_keys(struct pass *pass, float *qkv)
{
    const struct widths w = widths_of(pass);
    TRY(move_pairs(pass, qkv, pass->pairs, false));
    TRY(pass_exchange_pairs(pass));
    TRY(rotate(pass, true, qkv, w.qkv));
    TRY(rotate(pass, false, pass->pairs, w.pair));
    return round_rows(pass, pass->cuda->values, pass->pairs + w.pair / 2, w.pair, pass->keys,
                      w.pair / 2);
}

/* KV heads from `head` on, up to where another table shows what they see. */
static struct kernels_cuda_operands operands_of(const struct pass *pass, int layer, int head)
{
    const struct model_spec *spec = pass->options.spec;
    const struct bands *bands = &pass->sight.tables[0].bands;
    const struct sight_table *table = sight_of(&pass->sight, layer, head);
    const struct pass_cuda_ranges *ranges = &pass->cuda->there.ranges[table - pass->sight.tables];
    const struct widths w = widths_of(pass);
    struct kernels_cuda_operands operands = {
        .sight = {.count = table->regimes.count, .first = ranges->first, .end = ranges->end},
        .q = pass->cuda->queries,
        .q_frame_stride = pass->rows_most * w.wide,
        .k = pass->cuda->keys,
        .k_frame_stride = pass->keys_most * w.narrow,
        .v = pass->cuda->values,
        .query_frames = bands->query_frames,
        .key_frames = bands->key_frames,
        .rows = pass->rows,
        .keys = pass->keys,
        .heads = spec->heads,
        .kv_heads = spec->kv_heads,
        .computed = {head, head + 1},
        .head_dim = spec->head_dim,
        .scale_log2 = pass->scale_log2,
    };
    while (operands.computed.end < spec->kv_heads &&
           sight_of(&pass->sight, layer, operands.computed.end) == table)
        operands.computed.end++;
    for (int32_t g = 0; g < table->regimes.count; g++) {
        operands.sight.query_frame[g] = table->regimes.list[g].query_frame;
        operands.sight.key_frame[g] = table->regimes.list[g].key_frame;
    }
    return operands;
}

static float *logsumexp_of(const struct pass *pass, int layer)
{
    const int held = pass->options.recompute ? 0 : layer;
    return pass->logsumexp + held * pass->rows_most * pass->options.spec->heads;
}

static enum status attend(struct pass *pass, int op, int layer)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const struct tape_op *step = &pass->tape.ops[op];
    TRY(gather_keys(pass, pass_value(pass, layer, step->input)));
    for (int head = 0; head < pass->options.spec->kv_heads;) {
        const struct kernels_cuda_attention_train args = {operands_of(pass, layer, head),
                                                          pass_value(pass, layer, step->output),
                                                          logsumexp_of(pass, layer)};
        TRY(pass_cuda_launched(pass, streams->kernels->attention_train(&args, streams->compute),
                               "attention_train"));
        head = args.operands.computed.end;
    }
    return STATUS_OK;
}

static enum status attend_back(struct pass *pass, int op, int layer)
{
    const struct cuda_streams *streams = pass->cuda->streams;
    const struct model_spec *spec = pass->options.spec;
    const struct tape_op *step = &pass->tape.ops[op];
    const struct widths w = widths_of(pass);
    const float *dout = pass->gradients[LAYER_MIXED];
    const struct kernels_cuda_attention_dots dots = {pass->dots, dout,
                                                     pass_value(pass, layer, step->output),
                                                     pass->rows * spec->heads, spec->head_dim};
    if (!pass->options.recompute) /* else they are as the layer's way forward has just left them */
        TRY(gather_keys(pass, pass_value(pass, layer, step->input)));
    TRY(pass_cuda_launched(pass, streams->kernels->attention_dots(&dots, streams->compute),
                           "attention_dots"));
    TRY(round_rows(pass, pass->cuda->flow, dout, w.wide, pass->rows, w.wide));
    for (int head = 0; head < spec->kv_heads;) {
        const struct kernels_cuda_attention_gradient args = {
            operands_of(pass, layer, head), pass->cuda->flow,
            logsumexp_of(pass, layer),      pass->dots,
            pass->query_gradients,          pass->rotated_gradients,
            pass->cuda->value_gradients};
        TRY(pass_cuda_launched(pass, streams->kernels->attention_gradient(&args, streams->compute),
                               "attention_gradient"));
        head = args.operands.computed.end;
    }
    TRY(rotate_back(pass, true, pass->gradients[LAYER_QKV], w.qkv));
    TRY(rotate_back(pass, false, pass->pair_gradients, w.pair));
    TRY(copy_rows(pass, pass->pair_gradients + w.pair / 2, w.pair, pass->cuda->value_gradients,
                  w.narrow, pass->keys, w.narrow));
    TRY(pass_return_gradients(pass));
    return move_pairs(pass, pass->gradients[LAYER_QKV], pass->pair_gradients, true);
}

static enum status add(struct pass *pass, float *sum, const float *x, int64_t count)
{
    return cuda_streams_add(pass->cuda->streams, sum, x, (size_t)count);
}

const struct pass_device pass_cuda_device = {
    .open = open,
    .close = close,
    .deal = deal,
    .embed = pass_cuda_embed,
    .embed_back = pass_cuda_embed_back,
    .op = pass_cuda_op,
    .op_back = pass_cuda_op_back,
    .attend = attend,
    .attend_back = attend_back,
    .norm = pass_cuda_norm,
    .head = pass_cuda_head,
    .add = add,
};
