/* Owns the cases of attention: operands, truth and runs. The truth goes pair by pair in float64 and
 * shares nothing with the kernels but bands_find(). */
#include "tests/kernels/attention_case.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/unit.h"

enum { EXTRA_HEADS = 2, CANARY = 0x5a };

static const double LOG2 = 0.693147180559945309417;

/* A band that applies to every query. */
static struct band band_of(int64_t first, int64_t end, int query_frame)
{
    return (struct band){.query_end = BANDS_OPEN,
                         .unit = 1,
                         .distance_first = first,
                         .distance_end = end,
                         .query_frame = query_frame};
}

struct bands attention_case_rope(void)
{
    return (struct bands){
        .count = 1,
        .list = {band_of(0, BANDS_OPEN, 0)},
        .query_frames = 1,
        .query_frame = {BANDS_FRAME(1, 0)},
        .key_frames = 1,
        .panel_frames = 1,
        .key_frame = {BANDS_FRAME(1, 0)},
    };
}

struct bands attention_case_string(int64_t shift, int64_t local)
{
    struct bands bands = attention_case_rope();
    bands.count = bands.query_frames = 2;
    bands.list[0] = band_of(0, shift, 0);
    bands.list[1] = band_of(shift, BANDS_OPEN, 1);
    bands.query_frame[1] = (struct bands_frame)BANDS_FRAME(1, (double)(local - shift));
    return bands;
}

struct bands attention_case_lm_infinite(int64_t window, int64_t sinks, int64_t ceiling)
{
    struct bands bands = attention_case_rope();
    bands.count = bands.query_frames = 2;
    bands.list[0] = band_of(0, window, 0);
    bands.list[1] = band_of(window, BANDS_OPEN, 0);
    bands.list[1].masked = true;
    bands.query_frame[1] = (struct bands_frame)BANDS_FRAME(0, (double)ceiling);
    if (sinks == 0)
        return bands;
    bands.sinks = sinks;
    bands.count = 4;
    bands.list[2] = band_of(0, window, 0);
    bands.list[3] = band_of(window, BANDS_OPEN, 1);
    bands.list[2].key_class = bands.list[3].key_class = BAND_SINK;
    bands.list[3].key_frame = 1;
    bands.key_frames = 2;
    bands.key_frame[1] = (struct bands_frame)BANDS_FRAME(0, 0);
    return bands;
}

struct bands attention_case_rerope(int64_t window)
{
    struct bands bands = attention_case_string(window, window);
    bands.list[1].key_frame = 1;
    bands.query_frame[1] = (struct bands_frame)BANDS_FRAME(0, (double)window);
    bands.key_frames = bands.panel_frames = 2;
    bands.key_frame[1] = (struct bands_frame)BANDS_FRAME(0, 0);
    return bands;
}

struct bands attention_case_dca(int64_t chunk, int64_t local)
{
    const int64_t stride = chunk - local;
    struct bands bands = attention_case_rope();
    bands.count = bands.query_frames = 3;
    for (int b = 0; b < 3; b++) {
        bands.list[b] = band_of(b, b < 2 ? b + 1 : BANDS_OPEN, b);
        bands.list[b].unit = stride;
    }
    bands.key_frame[0] = bands.query_frame[0] = (struct bands_frame){1, stride, 1, 1, 0, INFINITY};
    bands.query_frame[1] = (struct bands_frame){1, stride, 1, 1, (double)stride, (double)chunk};
    bands.query_frame[2] = (struct bands_frame)BANDS_FRAME(0, (double)chunk);
    return bands;
}

static float *zeros(int64_t count)
{
    float *memory = calloc((size_t)count + 1, sizeof(float));
    assert_non_null(memory);
    return memory;
}

void attention_case_create(struct attention_case *c)
{
    int64_t keys = c->key_end - c->key_first;
    c->queries = zeros(c->bands.query_frames * c->tokens * c->group * c->head_dim);
    c->keys = zeros(c->bands.key_frames * keys * c->head_dim);
    c->values = zeros(keys * c->head_dim);
}

void attention_case_destroy(struct attention_case *c)
{
    free(c->queries);
    free(c->keys);
    free(c->values);
}

static float rounded(float value, enum dtype dtype)
{
    return dtype == DTYPE_BF16 ? dtype_f32_from_bf16(dtype_bf16_from_f32(value)) : value;
}

void attention_case_rotate(double *out, const double *in, int head_dim)
{
    const int span = head_dim & -head_dim;
    for (int i = 0; i < head_dim; i++) {
        out[i] = 0;
        for (int j = i / span * span; j < (i / span + 1) * span; j++)
            out[i] +=
                (__builtin_parity((unsigned)(i & j & (span - 1))) ? -1 : 1) * in[j] / sqrt(span);
    }
}

void attention_case_round_int8(float *row, int head_dim)
{
    double x[ATTENTION_HEAD_DIM_MAX] = {0}, y[ATTENTION_HEAD_DIM_MAX], most = 0;
    for (int d = 0; d < head_dim; d++)
        x[d] = (double)row[d];
    attention_case_rotate(y, x, head_dim);
    for (int d = 0; d < head_dim; d++)
        most = fmax(most, fabs(y[d]));
    const double scale = (double)dtype_f32_from_bf16(dtype_bf16_from_f32((float)(most / 127)));
    for (int d = 0; d < head_dim; d++)
        y[d] = most > 0 ? scale * nearbyint(y[d] / scale) : 0;
    attention_case_rotate(x, y, head_dim);
    for (int d = 0; d < head_dim; d++)
        row[d] = (float)x[d];
}

/* Rows of keys or values, as the cache rounds them. */
static void round_rows(float *rows, int64_t count, int head_dim, enum dtype cache)
{
    for (int64_t i = 0; i < count * head_dim; i++)
        rows[i] = rounded(rows[i], cache);
    for (int64_t r = 0; cache == DTYPE_INT8 && r < count; r++)
        attention_case_round_int8(rows + r * head_dim, head_dim);
}

void attention_case_randomise(struct attention_case *c, const struct kernels *kernels,
                              struct random *random, float spread)
{
    int64_t queries = c->bands.query_frames * c->tokens * c->group * c->head_dim;
    for (int64_t i = 0; i < queries; i++)
        c->queries[i] = rounded(spread * random_normal(random), kernels->operand);
    const int64_t rows = c->key_end - c->key_first;
    for (int64_t i = 0; i < c->bands.key_frames * rows * c->head_dim; i++)
        c->keys[i] = random_normal(random);
    for (int64_t i = 0; i < rows * c->head_dim; i++)
        c->values[i] = random_normal(random);
    round_rows(c->keys, c->bands.key_frames * rows, c->head_dim, kernels->cache);
    round_rows(c->values, rows, c->head_dim, kernels->cache);
}

int attention_case_records(const struct attention_case *c)
{
    return (c->store == BANDS_SINKS ? c->bands.key_frames : c->bands.panel_frames) + 1;
}

float *attention_case_key(const struct attention_case *c, int frame, int64_t key)
{
    return c->keys + (frame * (c->key_end - c->key_first) + key) * c->head_dim;
}

float *attention_case_query(const struct attention_case *c, int frame, int64_t token, int head)
{
    return c->queries + ((frame * c->tokens + token) * c->group + head) * c->head_dim;
}

static int64_t row_of(const struct attention_case *c, int64_t token, int head)
{
    return token * (c->group + EXTRA_HEADS) + 1 + head;
}

float *attention_state_acc(const struct attention_state *state, const struct attention_case *c,
                           int64_t token, int head)
{
    return (float *)state->acc.at + row_of(c, token, head) * c->head_dim;
}

float *attention_state_max(const struct attention_state *state, const struct attention_case *c,
                           int64_t token, int head)
{
    return (float *)state->max.at + row_of(c, token, head);
}

float *attention_state_sum(const struct attention_state *state, const struct attention_case *c,
                           int64_t token, int head)
{
    return (float *)state->sum.at + row_of(c, token, head);
}

void attention_state_create(struct attention_state *state, const struct attention_case *c)
{
    size_t rows = (size_t)(c->tokens * (c->group + EXTRA_HEADS));
    state->acc = guarded_create(rows * (size_t)c->head_dim * sizeof(float), CANARY);
    state->max = guarded_create(rows * sizeof(float), CANARY);
    state->sum = guarded_create(rows * sizeof(float), CANARY);
    for (int64_t t = 0; t < c->tokens; t++) {
        for (int h = 0; h < c->group; h++) {
            memset(attention_state_acc(state, c, t, h), 0, (size_t)c->head_dim * sizeof(float));
            *attention_state_max(state, c, t, h) = -INFINITY;
            *attention_state_sum(state, c, t, h) = 0;
        }
    }
}

void attention_state_destroy(struct attention_state *state)
{
    guarded_destroy(&state->acc);
    guarded_destroy(&state->max);
    guarded_destroy(&state->sum);
}

static void expect_untouched(const float *memory, size_t floats)
{
    for (size_t i = 0; i < floats * sizeof(float); i++)
        assert_int_equal(((const unsigned char *)memory)[i], CANARY);
}

/* The heads beside the group'"'"'s, and the bytes around everything. */
static void check_state(const struct attention_state *state, const struct attention_case *c)
{
    guarded_check(&state->acc);
    guarded_check(&state->max);
    guarded_check(&state->sum);
    for (int64_t t = 0; t < c->tokens; t++) {
        for (int h = -1; h <= c->group; h += c->group + 1) {
            expect_untouched(attention_state_acc(state, c, t, h), (size_t)c->head_dim);
            expect_untouched(attention_state_max(state, c, t, h), 1);
            expect_untouched(attention_state_sum(state, c, t, h), 1);
        }
    }
}

/* Stores one token's row of a record of two KV heads; the case is the second one, the first holds
 * other numbers. */
static void pack_row(void (*store)(void *record, int64_t row, const float *rows, int kv_heads,
                                   int head_dim),
                     void *record, int64_t row, const float *operands, int head_dim)
{
    float *both = zeros(2 * head_dim);
    for (int d = 0; d < head_dim; d++) {
        both[d] = 100;
        both[head_dim + d] = operands[d];
    }
    store(record, row, both, 2, head_dim);
    free(both);
}

static struct guarded pack_panels(const struct attention_case *c, const struct kernels *kernels)
{
    size_t bytes = attention_record_bytes(kernels->cache, 2, c->head_dim);
    int frames = attention_case_records(c) - 1;
    int64_t keys = c->key_end - c->key_first;
    int64_t panels = (keys + PANEL_TOKENS - 1) / PANEL_TOKENS;
    struct guarded packed = guarded_create((size_t)(panels * (frames + 1)) * bytes, 0);
    for (int64_t j = 0; j < keys; j++) {
        char *at = (char *)packed.at + (size_t)(j / PANEL_TOKENS * (frames + 1)) * bytes;
        for (int f = 0; f < frames; f++, at += bytes)
            pack_row(kernels->attention_store_keys, at, j % PANEL_TOKENS,
                     attention_case_key(c, f, j), c->head_dim);
        pack_row(kernels->attention_store_values, at, j % PANEL_TOKENS, c->values + j * c->head_dim,
                 c->head_dim);
    }
    guarded_check(&packed);
    return packed;
}

/* The queries in the variant'"'"'s operand type. */
static struct guarded pack_queries(const struct attention_case *c, const struct kernels *kernels)
{
    int64_t count = c->bands.query_frames * c->tokens * c->group * c->head_dim;
    bool wide = kernels->operand == DTYPE_F32;
    struct guarded packed = guarded_create((size_t)count * (wide ? 4 : 2), 0);
    for (int64_t i = 0; i < count; i++) {
        if (wide)
            ((float *)packed.at)[i] = c->queries[i];
        else
            ((uint16_t *)packed.at)[i] = dtype_bf16_from_f32(c->queries[i]);
    }
    return packed;
}

struct attention_part attention_case_whole(const struct attention_case *c)
{
    return (struct attention_part){
        .end = c->tokens, .key_first = c->key_first, .key_end = c->key_end};
}

void attention_case_run(const struct attention_case *c, const struct kernels *kernels,
                        const struct attention_part *part, struct attention_state *state)
{
    struct kernels_limits limits = {.rows = KERNELS_ROWS_MAX,
                                    .width_max = (int64_t)c->group * c->head_dim,
                                    .head_dim = c->head_dim,
                                    .group = c->group};
    struct guarded scratch = guarded_create(kernels->scratch_bytes(&limits), 0xff);
    struct guarded panels = pack_panels(c, kernels);
    struct guarded queries = pack_queries(c, kernels);
    size_t record_bytes = attention_record_bytes(kernels->cache, 2, c->head_dim);
    size_t panel_bytes = (size_t)attention_case_records(c) * record_bytes;
    size_t query_bytes = kernels->operand == DTYPE_F32 ? 4 : 2;
    int64_t width = (int64_t)c->group * c->head_dim;
    struct regimes regimes;
    regimes_make(&regimes, &c->bands);
    struct attention_args args = {
        .acc = attention_state_acc(state, c, part->first, 0),
        .max = attention_state_max(state, c, part->first, 0),
        .sum = attention_state_sum(state, c, part->first, 0),
        .acc_stride = (int64_t)(c->group + EXTRA_HEADS) * c->head_dim,
        .row_stride = c->group + EXTRA_HEADS,
        .queries = (char *)queries.at + (size_t)(part->first * width) * query_bytes,
        .frame_stride = c->tokens * width,
        .query_stride = width,
        .query_first = c->query_first + part->first,
        .tokens = part->end - part->first,
        .kv_heads = 1,
        .group = c->group,
        .head_dim = c->head_dim,
        .panels = (char *)panels.at +
                  (size_t)((part->key_first - c->key_first) / PANEL_TOKENS) * panel_bytes +
                  attention_head_bytes(kernels->cache, c->head_dim),
        .record_stride = record_bytes,
        .panel_stride = panel_bytes,
        .key_first = part->key_first,
        .key_end = part->key_end,
        .store = c->store,
        .regimes = &regimes,
        .scale_log2 = c->scale_log2,
        .cap_log2 = c->cap_log2,
        .scratch = scratch.at,
    };
    if (part->decode)
        kernels->attention_decode(&args);
    else
        kernels->attention_prefill(&args);
    guarded_check(&scratch);
    check_state(state, c);
    guarded_destroy(&scratch);
    guarded_destroy(&panels);
    guarded_destroy(&queries);
}

void attention_case_truth(const struct attention_case *c, int64_t token, int head, double *o,
                          double *lse)
{
    int64_t i = c->query_first + token;
    double max = -INFINITY, sum = 0;
    memset(o, 0, (size_t)c->head_dim * sizeof(double));
    for (int64_t j = c->key_first; j < c->key_end; j++) {
        const struct band *band = bands_find(&c->bands, i, j);
        if (!band || bands_store_of(&c->bands, band) != c->store)
            continue;
        const float *q = attention_case_query(c, band->query_frame, token, head);
        const float *k = attention_case_key(c, band->key_frame, j - c->key_first);
        const float *v = c->values + (j - c->key_first) * c->head_dim;
        double score = 0;
        for (int d = 0; d < c->head_dim; d++)
            score += (double)q[d] * k[d];
        score *= (double)c->scale_log2;
        if (c->cap_log2 > 0)
            score = (double)c->cap_log2 * tanh(score / (double)c->cap_log2);
        double top = score > max ? score : max;
        double rescale = exp2(max - top), p = exp2(score - top);
        for (int d = 0; d < c->head_dim; d++)
            o[d] = o[d] * rescale + p * v[d];
        sum = sum * rescale + p;
        max = top;
    }
    for (int d = 0; d < c->head_dim; d++)
        o[d] = sum > 0 ? o[d] / sum : 0;
    *lse = sum > 0 ? max * LOG2 + log(sum) : -INFINITY;
}

/* What a row's acc and sum say, as values were before a cache rotated them. */
static void row_out(double *out, const float *acc, float sum, const struct attention_case *c,
                    const struct kernels *kernels)
{
    double rotated[ATTENTION_HEAD_DIM_MAX] = {0};
    for (int d = 0; d < c->head_dim; d++)
        rotated[d] = out[d] = (double)acc[d] / (double)sum;
    if (kernels->cache == DTYPE_INT8)
        attention_case_rotate(out, rotated, c->head_dim);
}

struct attention_error attention_case_error(const struct attention_case *c,
                                            const struct kernels *kernels,
                                            const struct attention_state *state)
{
    struct attention_error error = {0};
    double squares = 0, difference = 0;
    double o[ATTENTION_HEAD_DIM_MAX], out[ATTENTION_HEAD_DIM_MAX], lse;
    for (int64_t t = 0; t < c->tokens; t++) {
        for (int h = 0; h < c->group; h++) {
            attention_case_truth(c, t, h, o, &lse);
            const float *acc = attention_state_acc(state, c, t, h);
            float max = *attention_state_max(state, c, t, h);
            float sum = *attention_state_sum(state, c, t, h);
            if (isinf(lse)) {
                assert_true(sum == 0 && isinf(max) && max < 0);
                for (int d = 0; d < c->head_dim; d++)
                    assert_true(acc[d] == 0);
                continue;
            }
            double got = (double)max * LOG2 + log((double)sum);
            error.lse = fmax(error.lse, fabs(got - lse) / fmax(1, fabs(lse)));
            row_out(out, acc, sum, c, kernels);
            for (int d = 0; d < c->head_dim; d++) {
                double e = out[d] - o[d];
                difference += e * e;
                squares += o[d] * o[d];
            }
        }
    }
    error.rms = squares > 0 ? sqrt(difference / squares) : 0;
    return error;
}
