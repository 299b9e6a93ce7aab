/* The table of CUDA kernels in plain C over the stand-in's memory: each as its contract says it,
 * and as slowly as that. A piece of work is a launch with copies of all that its arguments name on
 * the host. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#include "kernels/rope.h"
#include "tests/support/plain_survey.h"
#include "tests/support/standin.h"
#include "tests/support/standin_stream.h"

enum { WIDTH_MOST = 1 << 15 };

/* The pointer member itself, as the kernel sees it. */
#define REACH(pointer) ((pointer) = standin_behind(pointer))

static float get(const void *values, enum dtype dtype, int64_t at)
{
    if (dtype == DTYPE_F32)
        return ((const float *)values)[at];
    uint16_t half = ((const uint16_t *)values)[at];
    return dtype == DTYPE_F16 ? dtype_f32_from_f16(half) : dtype_f32_from_bf16(half);
}

static void set(void *values, enum dtype dtype, int64_t at, float value)
{
    if (dtype == DTYPE_F32)
        ((float *)values)[at] = value;
    else if (dtype == DTYPE_F16)
        ((uint16_t *)values)[at] = dtype_f16_from_f32(value);
    else
        ((uint16_t *)values)[at] = dtype_bf16_from_f32(value);
}

static const void *matrix_row(const struct kernels_cuda_matrix *matrix, int64_t row)
{
    return (const char *)standin_behind(matrix->rows) +
           (size_t)row * dtype_row_bytes(matrix->dtype, matrix->in);
}

/* ---- rows ---- */

static bool do_embed(void *arguments)
{
    struct kernels_cuda_embed *args = arguments;
    const int32_t *ids = standin_behind(args->ids);
    float *hidden = standin_behind(args->hidden);
    for (int64_t r = 0; r < args->rows; r++) {
        assert(ids[r] >= 0 && ids[r] < args->matrix.out);
        dtype_dequantize_row(hidden + r * args->matrix.in, matrix_row(&args->matrix, ids[r]),
                             args->matrix.dtype, args->matrix.in);
    }
    return true;
}

static bool do_rmsnorm(void *arguments)
{
    struct kernels_cuda_rmsnorm *args = arguments;
    float *hidden = standin_behind(args->hidden);
    const float *add = standin_behind(args->add);
    const float *weight = standin_behind(args->weight);
    void *out = standin_behind(args->out);
    for (int64_t r = 0; r < args->rows; r++, hidden += args->width) {
        double squares = 0;
        for (int64_t i = 0; i < args->width; i++) {
            if (add)
                hidden[i] += add[r * args->width + i];
            squares += (double)hidden[i] * (double)hidden[i];
        }
        float scale = 1.0f / sqrtf((float)(squares / (double)args->width) + args->eps);
        for (int64_t i = 0; out && i < args->width; i++)
            set(out, args->out_dtype, r * args->width + i, hidden[i] * scale * weight[i]);
    }
    return true;
}

static bool do_norm_heads(void *arguments)
{
    struct kernels_cuda_norm_heads *args = arguments;
    const int heads = args->heads[0] + args->heads[1];
    for (int64_t h = 0; h < args->rows * heads; h++) {
        const float *weight = standin_behind(args->weights[h % heads < args->heads[0] ? 0 : 1]);
        float *x = (float *)standin_behind(args->x) + h / heads * args->stride +
                   h % heads * args->head_dim;
        double squares = 0;
        for (int d = 0; d < args->head_dim; d++)
            squares += (double)x[d] * (double)x[d];
        float scale = 1.0f / sqrtf((float)(squares / args->head_dim) + args->eps);
        for (int d = 0; d < args->head_dim; d++)
            x[d] = x[d] * scale * weight[d];
    }
    return true;
}

static bool do_bias(void *arguments)
{
    struct kernels_cuda_bias *args = arguments;
    int64_t base = 0;
    for (int v = 0; v < args->vector_count; base += args->widths[v++])
        for (int64_t r = 0; r < args->rows; r++)
            for (int64_t o = 0; o < args->widths[v]; o++)
                if (base + o >= args->first && base + o < args->end)
                    ((float *)standin_behind(args->y))[r * args->stride + base + o] +=
                        ((const float *)standin_behind(args->vectors[v]))[o];
    return true;
}

static bool do_rope_table(void *arguments)
{
    struct kernels_cuda_rope_table *args = arguments;
    const int64_t *indices = standin_behind(args->indices);
    float *table = standin_behind(args->table);
    for (int f = 0; f < args->frame_count; f++)
        for (int64_t r = 0; r < args->rows; r++) {
            struct rope_place place = {
                bands_position(&args->frames[f], indices[r]),
                args->magnitude * rope_logn(f < args->query_frames ? args->logn : 0, indices[r])};
            rope_table(table + (f * args->rows + r) * 2 * args->half, &place, 1, args->inv_freq,
                       args->half);
        }
    return true;
}

/* One head's element d after its rotation. */
static float turned(const float *x, const float *table, int head_dim, int d)
{
    int half = head_dim / 2;
    int p = d % half;
    float cosine = table[2 * p];
    float sine = table[2 * p + 1];
    return d < half ? x[p] * cosine - x[p + half] * sine : x[p + half] * cosine + x[p] * sine;
}

static bool do_rope_queries(void *arguments)
{
    struct kernels_cuda_rope_queries *args = arguments;
    const float *q = standin_behind(args->q);
    const float *table = standin_behind(args->table);
    void *out = standin_behind(args->out);
    int64_t width = (int64_t)args->heads * args->head_dim;
    for (int f = 0; f < args->frame_count; f++)
        for (int64_t r = 0; r < args->rows; r++)
            for (int64_t i = 0; i < width; i++)
                set(out, args->operand, f * args->frame_stride + r * width + i,
                    turned(q + r * args->q_stride + i / args->head_dim * args->head_dim,
                           table + f * args->table_stride + r * args->head_dim, args->head_dim,
                           (int)(i % args->head_dim)));
    return true;
}

/* Writes one head's K and V of row `row` into its record; `table` NULL leaves K unrotated. */
static void store_key(const struct kernels_cuda_rope_store *args, void *records, int64_t record,
                      int64_t row, const float *table, int64_t token)
{
    for (int h = 0; h < args->kv_heads; h++) {
        const float *k = args->k + token * args->stride + (int64_t)h * args->head_dim;
        int64_t at = ((record * args->kv_heads + h) * PANEL_TOKENS + row) * args->head_dim;
        for (int d = 0; d < args->head_dim; d++)
            set(records, args->operand, at + d, turned(k, table, args->head_dim, d));
    }
}

static void store_value(const struct kernels_cuda_rope_store *args, void *records, int64_t record,
                        int64_t row, int64_t token)
{
    for (int h = 0; h < args->kv_heads; h++) {
        const float *v = args->v + token * args->stride + (int64_t)h * args->head_dim;
        int64_t at = ((record * args->kv_heads + h) * PANEL_TOKENS + row) * args->head_dim;
        for (int d = 0; d < args->head_dim; d++)
            set(records, args->operand, at + d, v[d]);
    }
}

/* A panel's K in the first `frames` key frames, and V. */
static void store_panel(const struct kernels_cuda_rope_store *args, void *records, int64_t record,
                        int frames, int64_t row, int64_t token)
{
    const float *table = standin_behind(args->table);
    for (int f = 0; f < frames; f++)
        store_key(args, records, record + f, row,
                  table + f * args->table_stride + token * args->head_dim, token);
    store_value(args, records, record + frames, row, token);
}

static bool do_rope_store(void *arguments)
{
    struct kernels_cuda_rope_store *args = arguments;
    REACH(args->k);
    REACH(args->v);
    const int64_t *records = standin_behind(args->records);
    const int64_t *indices = standin_behind(args->indices);
    for (int64_t r = 0; r < args->rows; r++) {
        int64_t row = indices[r] % PANEL_TOKENS;
        if (records[r] >= 0)
            store_panel(args, standin_behind(args->cache), records[r], args->panel_frames, row, r);
        if (indices[r] < args->sinks)
            store_panel(args, standin_behind(args->sink_cache),
                        indices[r] / PANEL_TOKENS * (args->key_frames + 1), args->key_frames, row,
                        r);
    }
    return true;
}

static bool do_swiglu(void *arguments)
{
    struct kernels_cuda_swiglu *args = arguments;
    const float *gate = standin_behind(args->gate);
    const float *up = standin_behind(args->up);
    void *out = standin_behind(args->out);
    for (int64_t r = 0; r < args->rows; r++)
        for (int64_t i = 0; i < args->width; i++) {
            float g = gate[r * args->in_stride + i];
            set(out, args->out_dtype, r * args->out_stride + i,
                g / (1.0f + expf(-g)) * up[r * args->in_stride + i]);
        }
    return true;
}

static bool do_dequantize(void *arguments)
{
    struct kernels_cuda_dequantize *args = arguments;
    static _Thread_local float row[WIDTH_MOST];
    void *out = standin_behind(args->out);
    assert(args->matrix.in <= WIDTH_MOST && args->end <= args->matrix.out);
    for (int64_t o = args->first; o < args->end; o++) {
        dtype_dequantize_row(row, matrix_row(&args->matrix, o), args->matrix.dtype,
                             args->matrix.in);
        for (int64_t k = 0; k < args->matrix.in; k++)
            set(out, args->operand, (o - args->first) * args->matrix.in + k, row[k]);
    }
    return true;
}

static bool do_matmul(void *arguments)
{
    struct kernels_cuda_matmul *args = arguments;
    static _Thread_local float row[WIDTH_MOST];
    const float *x = standin_behind(args->x);
    float *y = standin_behind(args->y);
    int64_t base = 0;
    for (int m = 0; m < args->matrix_count; m++) {
        const struct kernels_cuda_matrix *matrix = &args->matrices[m];
        for (int64_t o = 0; o < matrix->out; o++) {
            if (base + o < args->out_first || base + o >= args->out_end)
                continue;
            dtype_dequantize_row(row, matrix_row(matrix, o), matrix->dtype, matrix->in);
            for (int64_t r = 0; r < args->rows; r++) {
                float sum = 0;
                for (int64_t k = 0; k < matrix->in; k++)
                    sum += x[r * args->x_stride + k] * row[k];
                float *to = y + r * args->y_stride + base + o;
                *to = args->accumulate ? *to + sum : sum;
            }
        }
        base += matrix->out;
    }
    return true;
}

static bool do_logits(void *arguments)
{
    struct kernels_cuda_logits *args = arguments;
    const float *logits = standin_behind(args->logits);
    const int32_t *ids = standin_behind(args->ids);
    struct kernels_cuda_logits_row *out = standin_behind(args->out);
    for (int64_t r = 0; r < args->rows; r++, logits += args->vocab) {
        double sum = 0;
        struct kernels_cuda_logits_row row = {.max = logits[0]};
        for (int64_t v = 1; v < args->vocab; v++)
            if (logits[v] > row.max) {
                row.max = logits[v];
                row.best = (int32_t)v;
            }
        for (int64_t v = 0; v < args->vocab; v++)
            sum += exp((double)logits[v] - (double)row.max) + 0 * (double)logits[v];
        row.logsumexp = (float)((double)row.max + log(sum));
        if (ids && ids[r] >= 0)
            row.logprob = logits[ids[r]] - row.logsumexp;
        out[r] = row;
    }
    return true;
}

static bool do_survey(void *arguments)
{
    const struct kernels_cuda_survey *args = arguments;
    const size_t blocks = (size_t)kernels_cuda_survey_blocks(args->vocab);
    memset(standin_behind(args->work), 0xFF, blocks * sizeof *args->work);
    plain_survey(standin_behind(args->out), standin_behind(args->logits), args->vocab,
                 args->temperature);
    return true;
}

/* ---- attention ---- */

/* One row (token, head) and where its keys lie. */
struct attend_row {
    const struct regimes *regimes;
    const void *queries; /* of the row, frame 0 */
    int64_t frame_stride;
    int64_t index;
    float scale_log2;
    enum dtype operand;
    int head_dim;
    int kv_heads, kv_head;
    float *acc;
    float *max;
    float *sum;
};

static const struct regime *regime_of(const struct regimes *regimes, int64_t i, int64_t j,
                                      enum bands_store store)
{
    for (int r = 0; r < regimes->count; r++)
        if ((enum bands_store)regimes->list[r].store == store &&
            regime_lanes(&regimes->list[r], i, j, 1))
            return &regimes->list[r];
    return NULL;
}

static void attend_key(const struct attend_row *row, const struct attention_extent *extent,
                       int64_t key, const struct regime *regime)
{
    const void *records = extent->records;
    const int frame = regime->query_frame;
    int64_t record = key / PANEL_TOKENS * extent->panel_records;
    int64_t place = (int64_t)row->kv_head * PANEL_TOKENS + key % PANEL_TOKENS;
    int64_t record_rows = (int64_t)row->kv_heads * PANEL_TOKENS;
    int64_t k = ((record + regime->key_frame) * record_rows + place) * row->head_dim;
    int64_t v = ((record + extent->panel_records - 1) * record_rows + place) * row->head_dim;
    float score = 0;
    for (int d = 0; d < row->head_dim; d++)
        score += get(row->queries, row->operand, frame * row->frame_stride + d) *
                 get(records, row->operand, k + d);
    score *= row->scale_log2;
    float top = fmaxf(*row->max, score);
    float rescale = exp2f(*row->max - top);
    float p = exp2f(score - top);
    if (isnan(score))
        p = rescale = NAN; /* a slot that nobody filled */
    for (int d = 0; d < row->head_dim; d++)
        row->acc[d] = row->acc[d] * rescale + p * get(records, row->operand, v + d);
    *row->sum = *row->sum * rescale + p;
    *row->max = top;
}

/* `extent` as it lies in memory. */
static void attend_extent(const struct attend_row *row, const struct attention_extent *extent)
{
    for (int64_t j = extent->first; j < extent->end && j <= row->index; j++) {
        const struct regime *regime =
            regime_of(row->regimes, row->index, j, (enum bands_store)extent->store);
        if (regime)
            attend_key(row, extent, j - extent->first, regime);
    }
}

static void clear(const struct attend_row *row)
{
    memset(row->acc, 0, (size_t)row->head_dim * sizeof *row->acc);
    *row->max = -INFINITY;
    *row->sum = 0;
}

static bool is_computed(struct kernels_cuda_heads computed, int head, int group)
{
    return head / group >= computed.first && (computed.end == 0 || head / group < computed.end);
}

struct prefill_piece {
    struct kernels_cuda_prefill args;
    struct regimes regimes;
    struct attention_extent extents[ATTENTION_EXTENTS_MAX];
    struct attention_span spans[ATTENTION_SPANS_MAX];
};

static void prefill_row(const struct prefill_piece *piece, int span, int64_t token, int head)
{
    const struct kernels_cuda_prefill *args = &piece->args;
    int64_t r = piece->spans[span].row + token;
    int64_t at = r * args->heads + head;
    float own_acc[ATTENTION_HEAD_DIM_MAX], own_max, own_sum;
    bool carried = !(args->first && args->last);
    struct attend_row row = {
        .regimes = &piece->regimes,
        .queries = (char *)standin_behind(args->queries) + (size_t)(at * args->head_dim) * 2,
        .frame_stride = args->frame_stride,
        .index = piece->spans[span].index + token,
        .scale_log2 = args->scale_log2,
        .operand = args->operand,
        .head_dim = args->head_dim,
        .kv_heads = args->kv_heads,
        .kv_head = head / (args->heads / args->kv_heads),
        .acc = carried ? (float *)standin_behind(args->acc) + at * args->head_dim : own_acc,
        .max = carried ? (float *)standin_behind(args->max) + at : &own_max,
        .sum = carried ? (float *)standin_behind(args->sum) + at : &own_sum,
    };
    if (args->first)
        clear(&row);
    for (int k = 0; k < args->extent_count; k++) {
        struct attention_extent extent = piece->extents[k];
        extent.records = standin_behind(extent.records);
        if (span >= extent.span_first && span < extent.span_end)
            attend_extent(&row, &extent);
    }
    for (int d = 0; args->last && d < args->head_dim; d++)
        set(standin_behind(args->out), args->operand, at * args->head_dim + d,
            *row.sum == 0 ? 0 : row.acc[d] / *row.sum);
}

static bool do_prefill(void *arguments)
{
    const struct prefill_piece *piece = arguments;
    for (int s = 0; s < piece->args.span_count; s++)
        for (int64_t t = 0; t < piece->spans[s].tokens; t++)
            for (int head = 0; head < piece->args.heads; head++)
                if (is_computed(piece->args.computed, head,
                                piece->args.heads / piece->args.kv_heads))
                    prefill_row(piece, s, t, head);
    return true;
}

static int prefill(const struct kernels_cuda_prefill *args, struct CUstream_st *stream)
{
    struct prefill_piece piece = {.args = *args, .regimes = *args->regimes};
    if (args->extent_count > ATTENTION_EXTENTS_MAX || args->span_count > ATTENTION_SPANS_MAX)
        return 1;
    memcpy(piece.extents, args->extents, (size_t)args->extent_count * sizeof *args->extents);
    memcpy(piece.spans, args->spans, (size_t)args->span_count * sizeof *args->spans);
    return standin_put(stream, do_prefill, &piece, sizeof piece) != STATUS_OK;
}

struct decode_piece {
    struct kernels_cuda_decode args;
    struct regimes regimes;
};

/* One piece's state of one row: acc, max and sum lie one behind the other. */
static void decode_row(const struct decode_piece *piece, int split, int64_t r, int head)
{
    const struct kernels_cuda_decode *args = &piece->args;
    int64_t rows = args->rows * args->heads;
    int64_t at = r * args->heads + head;
    float *state = (float *)standin_behind(args->states) + split * rows * (args->head_dim + 2);
    const struct attend_row row = {
        .regimes = &piece->regimes,
        .queries = (char *)standin_behind(args->queries) + (size_t)(at * args->head_dim) * 2,
        .frame_stride = args->frame_stride,
        .index = *(const int64_t *)standin_behind(args->index) + r,
        .scale_log2 = args->scale_log2,
        .operand = args->operand,
        .head_dim = args->head_dim,
        .kv_heads = args->kv_heads,
        .kv_head = head / (args->heads / args->kv_heads),
        .acc = state + at * args->head_dim,
        .max = state + rows * args->head_dim + at,
        .sum = state + rows * (args->head_dim + 1) + at,
    };
    const int32_t *split_first = standin_behind(args->split_first);
    const struct kernels_cuda_extent *extents = standin_behind(args->extents);
    size_t record_bytes = attention_record_bytes(DTYPE_BF16, args->kv_heads, args->head_dim);
    clear(&row);
    for (int e = split_first[split]; e < split_first[split + 1]; e++) {
        const struct attention_extent extent = {
            .records = (const char *)standin_behind(args->bases[extents[e].base]) +
                       (size_t)extents[e].record * record_bytes,
            .first = extents[e].first,
            .end = extents[e].end,
            .store = extents[e].store,
            .panel_records = extents[e].panel_records,
        };
        attend_extent(&row, &extent);
    }
}

static bool do_decode(void *arguments)
{
    const struct decode_piece *piece = arguments;
    for (int split = 0; split < piece->args.splits; split++)
        for (int64_t r = 0; r < piece->args.rows; r++)
            for (int head = 0; head < piece->args.heads; head++)
                if (is_computed(piece->args.computed, head,
                                piece->args.heads / piece->args.kv_heads))
                    decode_row(piece, split, r, head);
    return true;
}

static int decode(const struct kernels_cuda_decode *args, struct CUstream_st *stream)
{
    const struct decode_piece piece = {*args, *args->regimes};
    return standin_put(stream, do_decode, &piece, sizeof piece) != STATUS_OK;
}

static void combine_row(const struct kernels_cuda_combine *args, int64_t r)
{
    int64_t rows = args->rows * args->heads;
    int head_dim = args->head_dim;
    const float *states = standin_behind(args->states);
    float acc[ATTENTION_HEAD_DIM_MAX] = {0};
    float max = -INFINITY;
    float sum = 0;
    for (int s = 0; s < args->count; s++) {
        const float *other = states + s * rows * (head_dim + 2);
        float other_max = other[rows * head_dim + r];
        float other_sum = other[rows * (head_dim + 1) + r];
        if (other_sum == 0)
            continue;
        float top = fmaxf(max, other_max);
        float ours = exp2f(max - top), theirs = exp2f(other_max - top);
        for (int d = 0; d < head_dim; d++)
            acc[d] = acc[d] * ours + other[r * head_dim + d] * theirs;
        sum = sum * ours + other_sum * theirs;
        max = top;
    }
    float *state = standin_behind(args->state);
    for (int d = 0; d < head_dim; d++) {
        if (state)
            state[r * head_dim + d] = acc[d];
        if (args->out)
            set(standin_behind(args->out), args->out_dtype, r * head_dim + d,
                sum == 0 ? 0 : acc[d] / sum);
    }
    if (state) {
        state[rows * head_dim + r] = max;
        state[rows * (head_dim + 1) + r] = sum;
    }
}

static bool do_combine(void *arguments)
{
    const struct kernels_cuda_combine *args = arguments;
    for (int64_t r = 0; r < args->rows * args->heads; r++)
        combine_row(args, r);
    return true;
}

static bool do_finish(void *arguments)
{
    struct kernels_cuda_finish *args = arguments;
    const float *acc = standin_behind(args->acc);
    const float *sum = standin_behind(args->sum);
    for (int64_t i = 0; i < args->rows * args->head_dim; i++) {
        float total = sum[i / args->head_dim];
        set(standin_behind(args->out), args->out_dtype, i, total == 0 ? 0 : acc[i] / total);
    }
    return true;
}

/* ---- launches ---- */

#define LAUNCH(name, type)                                                                         \
    static int launch_##name(const struct type *args, struct CUstream_st *stream)                  \
    {                                                                                              \
        return standin_put(stream, do_##name, args, sizeof *args) != STATUS_OK;                    \
    }

LAUNCH(embed, kernels_cuda_embed)
LAUNCH(rmsnorm, kernels_cuda_rmsnorm)
LAUNCH(norm_heads, kernels_cuda_norm_heads)
LAUNCH(bias, kernels_cuda_bias)
LAUNCH(rope_table, kernels_cuda_rope_table)
LAUNCH(rope_queries, kernels_cuda_rope_queries)
LAUNCH(rope_store, kernels_cuda_rope_store)
LAUNCH(combine, kernels_cuda_combine)
LAUNCH(finish, kernels_cuda_finish)
LAUNCH(swiglu, kernels_cuda_swiglu)
LAUNCH(dequantize, kernels_cuda_dequantize)
LAUNCH(matmul, kernels_cuda_matmul)
LAUNCH(logits, kernels_cuda_logits)
LAUNCH(survey, kernels_cuda_survey)

static struct kernels_cuda table;
static once_flag once = ONCE_FLAG_INIT;

static void fill_table(void)
{
    table = (struct kernels_cuda){
        .embed = launch_embed,
        .rmsnorm = launch_rmsnorm,
        .norm_heads = launch_norm_heads,
        .bias = launch_bias,
        .rope_table = launch_rope_table,
        .rope_queries = launch_rope_queries,
        .rope_store = launch_rope_store,
        .attention_prefill = prefill,
        .attention_decode = decode,
        .attention_combine = launch_combine,
        .attention_finish = launch_finish,
        .swiglu = launch_swiglu,
        .dequantize = launch_dequantize,
        .matmul_decode = launch_matmul,
        .logits = launch_logits,
        .survey = launch_survey,
    };
    standin_training_install(&table);
}

const struct kernels_cuda *standin_kernels(void)
{
    call_once(&once, fill_table);
    return &table;
}
