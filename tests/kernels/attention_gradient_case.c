/* Owns the float64 truth of training's attention and the layout that variants are run in. */
#include "tests/kernels/attention_gradient_case.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/unit.h"

static const double LN2 = 0.693147180559945309417;
static const double U = GRADIENT_CASE_ROUNDING;

/* Probabilities below it may be taken for it, and products of them lose bits. */
static const double LEAST = 0x1p-124;

static double *numbers(int64_t count)
{
    double *x = calloc((size_t)count, sizeof(double));
    assert_non_null(x);
    return x;
}

static int64_t q_count(const struct gradient_case *c)
{
    return c->bands.query_frames * c->tokens * c->group * c->head_dim;
}

static int64_t k_count(const struct gradient_case *c)
{
    return c->bands.key_frames * c->tokens * c->head_dim;
}

void gradient_case_create(struct gradient_case *c)
{
    c->q = numbers(q_count(c));
    c->q_error = numbers(q_count(c));
    c->k = numbers(k_count(c));
    c->k_error = numbers(k_count(c));
    c->v = numbers(c->tokens * c->head_dim);
    c->dout = numbers(c->tokens * c->group * c->head_dim);
}

void gradient_case_destroy(struct gradient_case *c)
{
    free(c->q);
    free(c->q_error);
    free(c->k);
    free(c->k_error);
    free(c->v);
    free(c->dout);
}

void gradient_case_randomise(struct gradient_case *c, struct random *random)
{
    double *const arrays[] = {c->q, c->k, c->v, c->dout};
    const int64_t counts[] = {q_count(c), k_count(c), c->tokens * c->head_dim,
                              c->tokens * c->group * c->head_dim};
    for (int a = 0; a < 4; a++)
        for (int64_t i = 0; i < counts[a]; i++)
            arrays[a][i] = (double)random_normal(random);
}

const struct band *gradient_case_find(const struct bands *bands, const int32_t *positions,
                                      int64_t i, int64_t j)
{
    const int64_t query = positions[i], key = positions[j];
    if (j > i || (bands->window > 0 && query - key >= bands->window))
        return NULL;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        const int64_t distance = query / band->unit - key / band->unit;
        if ((band->key_class == BAND_SINK) == (j < bands->sinks) && query >= band->query_first &&
            query < band->query_end && distance >= band->distance_first &&
            distance < band->distance_end)
            return band->masked ? NULL : band;
    }
    return NULL;
}

/* A row's sight: one entry a key that it sees. */
struct pair {
    int64_t key;
    int64_t q, k;    /* where its operands begin */
    double s, error; /* the score in log2 units, and its bound */
};

struct row {
    struct pair *pairs;
    int64_t count;
    double top, range; /* the largest score, and how far below the smallest is */
    double error;      /* the largest bound of a score */
    double lse;
};

static void score(const struct gradient_case *c, struct pair *pair)
{
    double sum = 0, size = 0, error = 0;
    for (int d = 0; d < c->head_dim; d++) {
        const double q = c->q[pair->q + d], k = c->k[pair->k + d];
        sum += q * k;
        size += fabs(q * k);
        error += fabs(q) * c->k_error[pair->k + d] + fabs(k) * c->q_error[pair->q + d];
    }
    pair->s = (double)c->scale_log2 * sum;
    pair->error = (double)c->scale_log2 * ((c->head_dim + 2) * U * size + error);
}

/* Row (token i, head h), its pairs in `pairs` [tokens]. */
static struct row row_of(const struct gradient_case *c, struct pair *pairs, int64_t i, int h)
{
    struct row row = {.pairs = pairs, .top = -INFINITY};
    double least = INFINITY, sum = 0;
    for (int64_t j = 0; j <= i; j++) {
        const struct band *band = gradient_case_find(&c->bands, c->positions, i, j);
        if (!band)
            continue;
        struct pair *pair = &pairs[row.count++];
        pair->key = j;
        pair->q = ((band->query_frame * c->tokens + i) * c->group + h) * c->head_dim;
        pair->k = (band->key_frame * c->tokens + j) * c->head_dim;
        score(c, pair);
        row.top = fmax(row.top, pair->s);
        least = fmin(least, pair->s);
        row.error = fmax(row.error, pair->error);
    }
    for (int64_t p = 0; p < row.count; p++)
        sum += exp2(pairs[p].s - row.top);
    row.range = row.top - least;
    row.lse = row.top + log2(sum);
    return row;
}

double gradient_case_loss(const struct gradient_case *c)
{
    struct pair *pairs = calloc((size_t)c->tokens, sizeof *pairs);
    assert_non_null(pairs);
    double loss = 0;
    for (int64_t r = 0; r < c->tokens * c->group; r++) {
        const struct row row = row_of(c, pairs, r / c->group, (int)(r % c->group));
        for (int64_t p = 0; p < row.count; p++) {
            double along = 0;
            for (int d = 0; d < c->head_dim; d++)
                along += c->dout[r * c->head_dim + d] * c->v[pairs[p].key * c->head_dim + d];
            loss += exp2(pairs[p].s - row.lse) * along;
        }
    }
    free(pairs);
    return loss;
}

/* The most tiles and regimes that a row or a key goes through: a tile is half as long or more. */
static double steps(const struct gradient_case *c)
{
    return (double)((2 * c->tokens / c->tile + 2) * c->bands.count);
}

/* A maximum moves, and sums are rescaled, at most once a step. */
static void forward_row(const struct gradient_case *c, struct gradient_truth *truth, int64_t r,
                        const struct row *row)
{
    const int width = c->head_dim;
    const double moves = fmin((double)row->count, steps(c)) + 1;
    const double each = LN2 * (2 * row->error + U * (row->range * moves + 1)) +
                        moves * (GRADIENT_CASE_EXP2 + 2 * U) +
                        ((double)row->count + steps(c) + 4) * U;
    for (int64_t p = 0; p < row->count; p++)
        for (int d = 0; d < width; d++) {
            const double part =
                exp2(row->pairs[p].s - row->lse) * c->v[row->pairs[p].key * width + d];
            truth->out.value[r * width + d] += part;
            truth->out.error[r * width + d] += (2 * each + c->factor_rounding) * fabs(part) +
                                               LEAST * fabs(c->v[row->pairs[p].key * width + d]);
        }
    truth->logsumexp.value[r] = row->count ? row->lse : -INFINITY;
    truth->logsumexp.error[r] = row->count ? each / LN2 + 8 * U * (fabs(row->lse) + 32) : 0;
    for (int d = 0; d < width; d++)
        truth->dot.value[r] += c->dout[r * width + d] * truth->out.value[r * width + d];
}

static void backward_pair(const struct gradient_case *c, struct gradient_truth *truth, int64_t r,
                          const struct pair *pair)
{
    const int width = c->head_dim;
    const double lse = truth->logsumexp.value[r], dot = truth->dot.value[r];
    const double scale = (double)c->scale_log2 * LN2;
    const double more = (steps(c) + (double)(c->tokens * c->group) + 6) * U + c->factor_rounding;
    const double *dout = c->dout + r * width, *v = c->v + pair->key * width;
    const double p = exp2(pair->s - lse);
    const double p_error = p * (LN2 * (pair->error + U * (fabs(lse) + fabs(pair->s - lse))) +
                                GRADIENT_CASE_EXP2 + 2 * U) +
                           LEAST;
    double dp = 0, size = 0;
    for (int d = 0; d < width; d++) {
        dp += dout[d] * v[d];
        size += fabs(dout[d] * v[d]);
    }
    const double ds = p * (dp - dot);
    const double ds_error = p_error * fabs(dp - dot) +
                            p * ((width + 1) * U * size + 2 * U * fabs(dot)) + 5 * U * fabs(ds);
    for (int d = 0; d < width; d++) {
        const double q = c->q[pair->q + d], k = c->k[pair->k + d];
        const double dv = p * dout[d], dq = scale * ds * k, dk = scale * ds * q;
        truth->dv.value[pair->key * width + d] += dv;
        truth->dv.error[pair->key * width + d] += p_error * fabs(dout[d]) + more * fabs(dv);
        truth->dq.value[pair->q + d] += dq;
        truth->dq.error[pair->q + d] +=
            scale * (ds_error * fabs(k) + fabs(ds) * c->k_error[pair->k + d]) + more * fabs(dq);
        truth->dk.value[pair->k + d] += dk;
        truth->dk.error[pair->k + d] +=
            scale * (ds_error * fabs(q) + fabs(ds) * c->q_error[pair->q + d]) + more * fabs(dk);
    }
}

static struct gradient_numbers both(int64_t count)
{
    return (struct gradient_numbers){numbers(count), numbers(count), count};
}

void gradient_truth_create(struct gradient_truth *truth, const struct gradient_case *c)
{
    const int64_t rows = c->tokens * c->group;
    *truth = (struct gradient_truth){
        .out = both(rows * c->head_dim),
        .logsumexp = both(rows),
        .dot = both(rows),
        .dq = both(q_count(c)),
        .dk = both(k_count(c)),
        .dv = both(c->tokens * c->head_dim),
    };
    struct pair *pairs = calloc((size_t)c->tokens, sizeof *pairs);
    assert_non_null(pairs);
    for (int64_t r = 0; r < rows; r++) {
        const struct row row = row_of(c, pairs, r / c->group, (int)(r % c->group));
        forward_row(c, truth, r, &row);
        for (int64_t p = 0; p < row.count; p++)
            backward_pair(c, truth, r, &pairs[p]);
    }
    free(pairs);
}

void gradient_truth_destroy(struct gradient_truth *truth)
{
    struct gradient_numbers *const all[] = {&truth->out, &truth->logsumexp, &truth->dot,
                                            &truth->dq,  &truth->dk,        &truth->dv};
    for (int a = 0; a < 6; a++) {
        free(all[a]->value);
        free(all[a]->error);
    }
}

/* ---- a variant's run: strides leave room between rows, which nobody may touch ---- */

enum { GAP = 16, UNTOUCHED = 0x5a };

struct layout {
    struct guarded memory;
    int64_t rows, width, stride;
};

static struct layout layout_create(int64_t rows, int64_t width, int64_t gap)
{
    struct layout layout = {.rows = rows, .width = width, .stride = width + gap};
    layout.memory = guarded_create((size_t)(rows * layout.stride) * sizeof(float), UNTOUCHED);
    for (int64_t r = 0; r < rows; r++)
        memset((float *)layout.memory.at + r * layout.stride, 0, (size_t)width * sizeof(float));
    return layout;
}

static struct layout layout_of(const double *x, int64_t rows, int64_t width)
{
    struct layout layout = layout_create(rows, width, GAP);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < width; i++)
            ((float *)layout.memory.at)[r * layout.stride + i] = (float)x[r * width + i];
    return layout;
}

/* Dense, after a look at what was not to be touched. */
static float *layout_take(struct layout *layout)
{
    float *x = calloc((size_t)(layout->rows * layout->width), sizeof(float));
    assert_non_null(x);
    guarded_check(&layout->memory);
    for (int64_t r = 0; r < layout->rows; r++) {
        const float *row = (float *)layout->memory.at + r * layout->stride;
        memcpy(x + r * layout->width, row, (size_t)layout->width * sizeof(float));
        for (int64_t i = layout->width; i < layout->stride; i++)
            assert_int_equal(dtype_bits_from_f32(row[i]), 0x5a5a5a5a);
    }
    guarded_destroy(&layout->memory);
    return x;
}

struct run {
    const struct gradient_case *c;
    const struct kernels *kernels;
    struct layout q, k, v, dout, acc, max, sum, logsumexp, dot, dq, dk, dv;
    struct guarded scratch;
};

static void run_tile(struct run *run, const struct attention_spans *spans, struct span queries,
                     struct span keys, bool backward)
{
    const struct gradient_case *c = run->c;
    const struct attention_gradient_tile tile = {
        .spans = spans,
        .tokens = queries.end - queries.first,
        .keys = keys.end - keys.first,
        .group = c->group,
        .head_dim = c->head_dim,
        .scale_log2 = c->scale_log2,
        .q = (float *)run->q.memory.at + queries.first * run->q.stride,
        .q_frame_stride = c->tokens * run->q.stride,
        .q_stride = run->q.stride,
        .k = (float *)run->k.memory.at + keys.first * run->k.stride,
        .k_frame_stride = c->tokens * run->k.stride,
        .k_stride = run->k.stride,
        .v = (float *)run->v.memory.at + keys.first * run->v.stride,
        .v_stride = run->v.stride,
        .scratch = run->scratch.at,
    };
    const int64_t row = queries.first * run->max.stride;
    if (backward) {
        const struct attention_gradient_flow flow = {
            .dout = (float *)run->dout.memory.at + queries.first * run->dout.stride,
            .dout_stride = run->dout.stride,
            .logsumexp = (float *)run->logsumexp.memory.at + row,
            .dot = (float *)run->dot.memory.at + row,
            .row_stride = run->max.stride,
            .dq = (float *)run->dq.memory.at + queries.first * run->q.stride,
            .dk = (float *)run->dk.memory.at + keys.first * run->k.stride,
            .dv = (float *)run->dv.memory.at + keys.first * run->v.stride,
        };
        run->kernels->attention_gradient_backward(&tile, &flow);
        return;
    }
    const struct attention_gradient_state state = {
        .acc = (float *)run->acc.memory.at + queries.first * run->acc.stride,
        .acc_stride = run->acc.stride,
        .max = (float *)run->max.memory.at + row,
        .sum = (float *)run->sum.memory.at + row,
        .row_stride = run->max.stride,
    };
    run->kernels->attention_gradient_forward(&tile, &state);
}

/* All pairs of the sample, in tiles that begin anywhere; keys from either end. */
static void run_tiles(struct run *run, struct random *random, bool backward)
{
    const struct gradient_case *c = run->c;
    struct regimes regimes;
    regimes_make(&regimes, &c->bands);
    for (int64_t q = 0, q_end; q < c->tokens; q = q_end) {
        q_end =
            regimes_smaller(q + random_between(random, (c->tile + 1) / 2, c->tile + 1), c->tokens);
        const bool falling = random_between(random, 0, 2);
        for (int64_t done = 0, next; done < c->tokens; done = next) {
            next = regimes_smaller(done + random_between(random, (c->tile + 1) / 2, c->tile + 1),
                                   c->tokens);
            const struct span keys = falling ? (struct span){c->tokens - next, c->tokens - done}
                                             : (struct span){done, next};
            struct attention_spans spans;
            attention_spans_make(&spans, &regimes, c->positions, (struct span){q, q_end}, keys);
            if (spans.count > 0)
                run_tile(run, &spans, (struct span){q, q_end}, keys, backward);
        }
    }
}

static void finish(const struct gradient_case *c, const struct kernels *kernels, float *out,
                   float *max, const float *sum)
{
    kernels->attention_gradient_finish(out, max, sum, c->tokens * c->group, c->head_dim);
}

void gradient_result_create(struct gradient_result *result, const struct gradient_case *c,
                            const struct kernels *kernels, const struct gradient_truth *truth,
                            struct random *random)
{
    const int64_t width = c->head_dim, wide = c->group * width;
    struct run run = {
        .c = c,
        .kernels = kernels,
        .q = layout_of(c->q, c->bands.query_frames * c->tokens, wide),
        .k = layout_of(c->k, c->bands.key_frames * c->tokens, width),
        .v = layout_of(c->v, c->tokens, width),
        .dout = layout_of(c->dout, c->tokens, wide),
        .acc = layout_create(c->tokens, wide, GAP),
        .max = layout_create(c->tokens, c->group, 3),
        .sum = layout_create(c->tokens, c->group, 3),
        .logsumexp = layout_create(c->tokens, c->group, 3),
        .dot = layout_create(c->tokens, c->group, 3),
        .dq = layout_create(c->bands.query_frames * c->tokens, wide, GAP),
        .dk = layout_create(c->bands.key_frames * c->tokens, width, GAP),
        .dv = layout_create(c->tokens, width, GAP),
        .scratch = guarded_create(attention_gradient_scratch_bytes(c->head_dim), 0xff),
    };
    for (int64_t r = 0; r < c->tokens * c->group; r++) {
        const int64_t at = r / c->group * run.max.stride + r % c->group;
        ((float *)run.max.memory.at)[at] = -INFINITY;
        ((float *)run.logsumexp.memory.at)[at] = (float)truth->logsumexp.value[r];
        ((float *)run.dot.memory.at)[at] = (float)truth->dot.value[r];
    }
    run_tiles(&run, random, false);
    run_tiles(&run, random, true);
    guarded_check(&run.scratch);
    guarded_destroy(&run.scratch);
    *result = (struct gradient_result){
        .out = layout_take(&run.acc),
        .logsumexp = layout_take(&run.max),
        .dq = layout_take(&run.dq),
        .dk = layout_take(&run.dk),
        .dv = layout_take(&run.dv),
    };
    float *sum = layout_take(&run.sum);
    finish(c, kernels, result->out, result->logsumexp, sum);
    free(sum);
    struct layout *const rest[] = {&run.q, &run.k, &run.v, &run.dout, &run.logsumexp, &run.dot};
    for (int l = 0; l < 6; l++)
        free(layout_take(rest[l]));
}

void gradient_result_destroy(struct gradient_result *result)
{
    free(result->out);
    free(result->logsumexp);
    free(result->dq);
    free(result->dk);
    free(result->dv);
}

static void check(const char *what, const float *got, const struct gradient_numbers *want)
{
    for (int64_t i = 0; i < want->count; i++) {
        if ((double)got[i] == want->value[i] || /* -inf, too; bounds are of the first order */
            fabs((double)got[i] - want->value[i]) <= 1.01 * want->error[i])
            continue;
        print_error("%s[%lld]: got %.9g, not %.9g within %.3g\n", what, (long long)i,
                    (double)got[i], want->value[i], want->error[i]);
        assert_true(false);
    }
}

void gradient_result_check(const struct gradient_result *result, const struct gradient_truth *truth)
{
    check("out", result->out, &truth->out);
    check("logsumexp", result->logsumexp, &truth->logsumexp);
    check("dq", result->dq, &truth->dq);
    check("dk", result->dk, &truth->dk);
    check("dv", result->dv, &truth->dv);
}
