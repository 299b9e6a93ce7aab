/* Attention of training with AVX2: a register tile of 6 rows x 16 columns, 12 sums in 16 registers.
 * A sum does not depend on the register tile that it falls into. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/attention_gradient_avx2.h"
#include "kernels/exp_avx2.h"
#include "kernels/lanes_avx2.h"
#include "kernels/variants.h"

enum {
    LANES = 8,
    STRIP = 6,
    UNROLLED = 8,
    SIDE = ATTENTION_GRADIENT_SIDE,
    PANEL = ATTENTION_GRADIENT_PANEL,
};

static const float LN2 = 0.693147180559945309417f;

/* sum += a * b in place: left to itself, the compiler renames the sums and spills them. */
static inline __m256 multiply_add(__m256 a, __m256 b, __m256 sum)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
}

static inline __attribute__((always_inline)) void
step(__m256 sums[STRIP][2], const float *a, int64_t a_row, const float *b, const int rows)
{
    const __m256 left = _mm256_load_ps(b), right = _mm256_load_ps(b + LANES);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        const __m256 factor = _mm256_broadcast_ss((r < 3 ? a : a + 3 * a_row) + r % 3 * a_row);
        sums[r][0] = multiply_add(factor, left, sums[r][0]);
        sums[r][1] = multiply_add(factor, right, sums[r][1]);
    }
}

/* So many of k, whose columns of a lie evenly; *a and *b go on. */
static inline __attribute__((always_inline)) void add_products(__m256 sums[STRIP][2],
                                                               const float **a, int64_t a_row,
                                                               int64_t a_column, const float **b,
                                                               int depth, const int rows)
{
    for (; depth >= UNROLLED; depth -= UNROLLED)
#pragma GCC unroll 8
        for (int k = 0; k < UNROLLED; k++, *a += a_column, *b += PANEL)
            step(sums, *a, a_row, *b, rows);
    for (; depth > 0; depth--, *a += a_column, *b += PANEL)
        step(sums, *a, a_row, *b, rows);
}

static inline __attribute__((always_inline)) void
tile(const struct attention_gradient_product *product, const int rows)
{
    __m256 sums[STRIP][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        __builtin_prefetch(product->c[r], 1); /* a line, or the ends of two */
        sums[r][0] = sums[r][1] = _mm256_setzero_ps();
    }
    const float *a = product->a, *b = product->b;
    const int64_t a_row = product->a_row, a_column = product->a_column;
    const int64_t jump = product->a_block - product->a_depth * a_column;
    int depth = product->depth;
    for (; depth >= product->a_depth; depth -= product->a_depth, a += jump)
        add_products(sums, &a, a_row, a_column, &b, product->a_depth, rows);
    add_products(sums, &a, a_row, a_column, &b, depth, rows);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            float *c = product->c[r] + v * LANES;
            _mm256_storeu_ps(c, product->accumulate ? _mm256_add_ps(_mm256_loadu_ps(c), sums[r][v])
                                                    : sums[r][v]);
        }
}

static void multiply(const struct attention_gradient_product *product, int rows, int panels)
{
    (void)panels; /* one */
    switch (rows) {
    case 1:
        return tile(product, 1);
    case 2:
        return tile(product, 2);
    case 3:
        return tile(product, 3);
    case 4:
        return tile(product, 4);
    case 5:
        return tile(product, 5);
    default:
        return tile(product, 6);
    }
}

void attention_gradient_avx2_pack_rows(float *panels, const float *const *rows, int count,
                                       int head_dim, float scale)
{
    const __m256 factor = _mm256_set1_ps(scale);
    for (int r = 0; r < count; r++, panels += PANEL)
        for (int d = 0; d < head_dim; d += PANEL)
            for (int v = 0; v < PANEL; v += LANES)
                _mm256_store_ps(panels + d * SIDE + v,
                                _mm256_mul_ps(_mm256_loadu_ps(rows[r] + d + v), factor));
}

/* Eight columns of eight rows: out[x * PANEL + r] = rows[r][x]; rows at and beyond count are 0. */
static void transpose(float *out, const float *const *rows, int count, int column)
{
    __m256 in[LANES], pairs[LANES], fours[LANES];
#pragma GCC unroll 8
    for (int r = 0; r < LANES; r++)
        in[r] = r < count ? _mm256_loadu_ps(rows[r] + column) : _mm256_setzero_ps();
#pragma GCC unroll 4
    for (int r = 0; r < LANES; r += 2) {
        pairs[r] = _mm256_unpacklo_ps(in[r], in[r + 1]);
        pairs[r + 1] = _mm256_unpackhi_ps(in[r], in[r + 1]);
    }
#pragma GCC unroll 2
    for (int r = 0; r < LANES; r += 4) {
        fours[r] = _mm256_shuffle_ps(pairs[r], pairs[r + 2], _MM_SHUFFLE(1, 0, 1, 0));
        fours[r + 1] = _mm256_shuffle_ps(pairs[r], pairs[r + 2], _MM_SHUFFLE(3, 2, 3, 2));
        fours[r + 2] = _mm256_shuffle_ps(pairs[r + 1], pairs[r + 3], _MM_SHUFFLE(1, 0, 1, 0));
        fours[r + 3] = _mm256_shuffle_ps(pairs[r + 1], pairs[r + 3], _MM_SHUFFLE(3, 2, 3, 2));
    }
#pragma GCC unroll 4
    for (int r = 0; r < 4; r++) {
        _mm256_store_ps(out + r * PANEL, _mm256_permute2f128_ps(fours[r], fours[r + 4], 0x20));
        _mm256_store_ps(out + (r + 4) * PANEL,
                        _mm256_permute2f128_ps(fours[r], fours[r + 4], 0x31));
    }
}

void attention_gradient_avx2_pack_columns(float *panels, const float *const *rows, int count,
                                          int head_dim)
{
    for (int r = 0; r < (count + PANEL - 1) / PANEL * PANEL; r += LANES) {
        float *out = panels + r / PANEL * PANEL * head_dim + r % PANEL;
        for (int d = 0; d < head_dim; d += LANES)
            transpose(out + d * PANEL, rows + r, count - r, d);
    }
}

/* 2^x for x in [-125, 125] as exp2_avx2 has it, but a NaN of every NaN: the power of two is
 * multiplied with. */
static inline __m256 exp2_or_nan(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(0x1.8p23f + 127);
    const __m256 shifted = _mm256_add_ps(x, magic);
    const __m256 f = _mm256_sub_ps(x, _mm256_sub_ps(shifted, magic));
    const __m256 p = exp2_part_avx2(f);
    const __m256i power = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

/* All bits of the lanes of columns [column, column + LANES) that the row sees. */
static inline __m256 seen(struct attention_gradient_columns columns, int column)
{
    const __m256i at =
        _mm256_add_epi32(_mm256_set1_epi32(column), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    const __m256i from = _mm256_cmpgt_epi32(at, _mm256_set1_epi32(columns.first - 1));
    const __m256i to = _mm256_cmpgt_epi32(_mm256_set1_epi32(columns.end), at);
    return _mm256_castsi256_ps(_mm256_and_si256(from, to));
}

/* The largest score that the row sees, and `max`; a NaN may be passed over, what follows keeps it.
 * */
static inline __attribute__((always_inline)) float
row_max(const float *scores, struct attention_gradient_columns columns, float max,
        const bool masked)
{
    __m256 top[2] = {_mm256_set1_ps(max), _mm256_set1_ps(max)};
    for (int column = columns.from; column < columns.to; column += PANEL)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            __m256 s = _mm256_load_ps(scores + column + v * LANES);
            if (masked)
                s = _mm256_blendv_ps(_mm256_set1_ps(-INFINITY), s,
                                     seen(columns, column + v * LANES));
            top[v] = _mm256_max_ps(s, top[v]);
        }
    return lanes_largest_avx2(_mm256_max_ps(top[0], top[1]));
}

/* 2^(score - max), not less than 2^-125: beside the 1 of the maximum it is nothing. */
static inline __m256 probability(const float *scores, __m256 max)
{
    const __m256 x = _mm256_sub_ps(_mm256_load_ps(scores), max);
    /* The larger of two is the second where either is a NaN. */
    return exp2_or_nan(_mm256_max_ps(_mm256_set1_ps(-125.0f), x));
}

static inline __attribute__((always_inline)) float
row_exp2(float *scores, struct attention_gradient_columns columns, float max, const bool masked)
{
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int column = columns.from; column < columns.to; column += PANEL)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            float *at = scores + column + v * LANES;
            __m256 p = probability(at, _mm256_set1_ps(max));
            if (masked)
                p = _mm256_and_ps(p, seen(columns, column + v * LANES));
            sums[v] = _mm256_add_ps(sums[v], p);
            _mm256_store_ps(at, p);
        }
    return lanes_total_avx2(_mm256_add_ps(sums[0], sums[1]));
}

static void rescale(float *acc, float factor, int head_dim)
{
    for (int d = 0; d < head_dim; d += LANES)
        _mm256_storeu_ps(acc + d, _mm256_mul_ps(_mm256_loadu_ps(acc + d), _mm256_set1_ps(factor)));
}

void attention_gradient_avx2_softmax(float *scores, struct attention_gradient_columns columns,
                                     float *max, float *sum, float *acc, int head_dim)
{
    if (columns.first >= columns.end) {
        memset(scores + columns.from, 0, (size_t)(columns.to - columns.from) * sizeof(float));
        return;
    }
    const bool masked = columns.first > columns.from || columns.end < columns.to;
    const float before = *max;
    const float after =
        masked ? row_max(scores, columns, before, true) : row_max(scores, columns, before, false);
    const float added =
        masked ? row_exp2(scores, columns, after, true) : row_exp2(scores, columns, after, false);
    if (after > before && before > -INFINITY) {
        const float apart = before - after > -125.0f ? before - after : -125.0f;
        const float factor = _mm256_cvtss_f32(exp2_or_nan(_mm256_set1_ps(apart)));
        *sum *= factor;
        rescale(acc, factor, head_dim);
    }
    *sum += added;
    *max = after;
}

static inline __attribute__((always_inline)) void
row_differentiate(float *scores, float *dp, struct attention_gradient_columns columns,
                  float logsumexp, float dot, const bool masked)
{
    for (int column = columns.from; column < columns.to; column += LANES) {
        __m256 p = probability(scores + column, _mm256_set1_ps(logsumexp));
        const __m256 d = _mm256_sub_ps(_mm256_load_ps(dp + column), _mm256_set1_ps(dot));
        __m256 ds = _mm256_mul_ps(_mm256_mul_ps(p, _mm256_set1_ps(LN2)), d);
        if (masked) {
            const __m256 mask = seen(columns, column);
            p = _mm256_and_ps(p, mask);
            ds = _mm256_and_ps(ds, mask);
        }
        _mm256_store_ps(scores + column, p);
        _mm256_store_ps(dp + column, ds);
    }
}

void attention_gradient_avx2_differentiate(float *scores, float *dp,
                                           struct attention_gradient_columns columns,
                                           float logsumexp, float dot)
{
    if (columns.first > columns.from || columns.end < columns.to)
        row_differentiate(scores, dp, columns, logsumexp, dot, true);
    else
        row_differentiate(scores, dp, columns, logsumexp, dot, false);
}

static const struct attention_gradient_ops ops = {
    .strip_rows = STRIP,
    .tile_panels = 1,
    .multiply = multiply,
    .pack_rows = attention_gradient_avx2_pack_rows,
    .pack_columns = attention_gradient_avx2_pack_columns,
    .softmax = attention_gradient_avx2_softmax,
    .differentiate = attention_gradient_avx2_differentiate,
};

static void forward(const struct attention_gradient_tile *one,
                    const struct attention_gradient_state *state)
{
    attention_gradient_walk_forward(one, state, &ops);
}

static void backward(const struct attention_gradient_tile *one,
                     const struct attention_gradient_flow *flow)
{
    attention_gradient_walk_backward(one, flow, &ops);
}

static void finish(float *acc, float *max, const float *sum, int64_t rows, int head_dim)
{
    for (int64_t r = 0; r < rows; r++, acc += head_dim) {
        const __m256 divisor = _mm256_set1_ps(sum[r]);
        for (int d = 0; d < head_dim; d += LANES) {
            const __m256 out = _mm256_div_ps(_mm256_loadu_ps(acc + d), divisor);
            _mm256_storeu_ps(acc + d, sum[r] == 0 ? _mm256_setzero_ps() : out);
        }
        max[r] += log2f(sum[r]);
    }
}

static void dots(float *dot, const float *dout, const float *out, int64_t rows, int head_dim)
{
    for (int64_t r = 0; r < rows; r++, dout += head_dim, out += head_dim) {
        __m256d sums[2] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
        for (int d = 0; d < head_dim; d += LANES)
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++)
                sums[v] = _mm256_fmadd_pd(_mm256_cvtps_pd(_mm_loadu_ps(dout + d + 4 * v)),
                                          _mm256_cvtps_pd(_mm_loadu_ps(out + d + 4 * v)), sums[v]);
        double parts[4];
        _mm256_storeu_pd(parts, _mm256_add_pd(sums[0], sums[1]));
        dot[r] = (float)((parts[0] + parts[1]) + (parts[2] + parts[3]));
    }
}

void attention_gradient_avx2_install(struct kernels *kernels)
{
    kernels->attention_gradient_finish = finish;
    kernels->attention_gradient_dots = dots;
    kernels->attention_gradient_forward = forward;
    kernels->attention_gradient_backward = backward;
}
