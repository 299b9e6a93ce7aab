/* Attention with AVX-512 and BF16: bf16 queries, panels and probabilities, float32 sums.
 *
 * Its logic was checked under emulation (tests/support/emulated), with the roundings of vdpbf16ps;
 * its speed was not measured: no machine with these instructions was at hand.
 *
 * Both products are the same register tile, up to 6 rows x 64 columns: 24 sums, four panel vectors
 * and one broadcast pair. Probabilities are rounded to bf16 for the second product only; a row's
 * sum is taken before. Every element's sum runs over k in ascending order in one chain, whatever
 * tile it falls into, so a row's result does not depend on its neighbours; prefill and decode are
 * the same arithmetic.
 */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/attention_walk.h"
#include "kernels/variants.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, VECTORS = PANEL_TOKENS / LANES };

/* c[r][column + x] (+)= scale * sum_k a[r][k] b[k][x], k over `pairs` pairs. */
struct product {
    float *const *c;
    const uint32_t *a; /* pairs */
    int a_stride;      /* pairs */
    const uint32_t *b;
    int b_stride;
    int pairs;
    bool accumulate; /* without the scale */
    float scale;
    const char *ahead; /* memory to prefetch meanwhile, `ahead_lines` lines for each 16 columns */
    int ahead_lines;
};

INLINE void tile(const struct product *product, int column, const int rows, const int vectors)
{
    __m512 sums[ATTENTION_TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] = product->accumulate ? _mm512_loadu_ps(product->c[r] + column + v * LANES)
                                             : _mm512_setzero_ps();
    const char *ahead = product->ahead + (size_t)(column / 16 * product->ahead_lines) * 64;
    for (int i = 0; i < vectors * product->ahead_lines; i++)
        _mm_prefetch(ahead + i * ATTENTION_LINE, _MM_HINT_T0);
    const uint32_t *a = product->a;
    const uint32_t *b = product->b + column;
    const int64_t a_stride = product->a_stride;
    for (int k = 0; k < product->pairs; k++, a++, b += product->b_stride) {
        __m512bh vector[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            vector[v] = (__m512bh)_mm512_loadu_si512(b + v * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512bh factor = (__m512bh)_mm512_set1_epi32((int)a[r * a_stride]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, vector[v]);
        }
    }
    const __m512 scale = _mm512_set1_ps(product->scale);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm512_storeu_ps(product->c[r] + column + v * LANES,
                             product->accumulate ? sums[r][v] : _mm512_mul_ps(sums[r][v], scale));
}

INLINE void multiply_rows(const struct product *product, const int rows, int first, int end)
{
    int column = first;
    for (; column + PANEL_TOKENS <= end; column += PANEL_TOKENS)
        tile(product, column, rows, VECTORS);
    for (; column + 2 * LANES <= end; column += 2 * LANES)
        tile(product, column, rows, 2);
    for (; column < end; column += LANES)
        tile(product, column, rows, 1);
}

/* Columns [first, end), multiples of 16. */
static void multiply(const struct product *product, int rows, int first, int end)
{
    switch (rows) {
    case 1:
        multiply_rows(product, 1, first, end);
        return;
    case 2:
        multiply_rows(product, 2, first, end);
        return;
    case 3:
        multiply_rows(product, 3, first, end);
        return;
    case 4:
        multiply_rows(product, 4, first, end);
        return;
    case 5:
        multiply_rows(product, 5, first, end);
        return;
    default:
        multiply_rows(product, 6, first, end);
        return;
    }
}

/* 2^x for x in [-125, 125], relative error below 6e-7; exact where x is whole. */
INLINE __m512 exp2_lanes(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f); /* leaves the whole part in the low bits */
    __m512 shifted = _mm512_add_ps(x, magic);
    __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, magic));
    __m512 p = _mm512_set1_ps(0.00111255073f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.00966628268f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0555740036f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240223512f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693142831f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
}

/* The largest visible score of a row, and `max`. */
INLINE float row_max(const float *scores, float max, uint64_t visible)
{
    __m512 top = _mm512_set1_ps(max);
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        __mmask16 mask = (__mmask16)(visible >> (v * LANES));
        top = _mm512_mask_max_ps(top, mask, top, _mm512_loadu_ps(scores + v * LANES));
    }
    return _mm512_reduce_max_ps(top);
}

/* Probabilities of a row in bf16, where not visible 0; their sum before the rounding. */
INLINE float row_exp2(uint16_t *out, const float *scores, float max, uint64_t visible)
{
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        __mmask16 mask = (__mmask16)(visible >> (v * LANES));
        __m512 x = _mm512_sub_ps(_mm512_loadu_ps(scores + v * LANES), _mm512_set1_ps(max));
        /* 2^-125 stands for everything below it: beside the 1 of the maximum it is nothing. */
        x = _mm512_max_ps(x, _mm512_set1_ps(-125.0f));
        __m512 p = _mm512_maskz_mov_ps(mask, exp2_lanes(x));
        sum = _mm512_add_ps(sum, p);
        __m256bh narrow = _mm512_cvtneps_pbh(p);
        memcpy(out + v * LANES, &narrow, sizeof narrow);
    }
    return _mm512_reduce_add_ps(sum);
}

static void rescale(float *acc, float factor, int head_dim)
{
    for (int d = 0; d < head_dim; d += LANES)
        _mm512_storeu_ps(acc + d, _mm512_mul_ps(_mm512_loadu_ps(acc + d), _mm512_set1_ps(factor)));
}

static float exp2_one(float x)
{
    float out[LANES];
    _mm512_storeu_ps(out, exp2_lanes(_mm512_set1_ps(x)));
    return out[0];
}

/* Probabilities go to chunk->other as [rows, 64] bf16. Rows go through each half together, so that
 * one's latency hides behind another's work. */
INLINE void softmax_rows(const struct attention_chunk *chunk, const struct attention_rows *rows,
                         const bool masked)
{
    float after[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        after[r] = row_max(chunk->scores + r * PANEL_TOKENS, *rows->max[r],
                           masked ? rows->visible[r] : ~UINT64_C(0));
    for (int r = 0; r < rows->count; r++) {
        uint16_t *out = (uint16_t *)chunk->other + r * PANEL_TOKENS;
        float before = *rows->max[r];
        if (masked && rows->visible[r] == 0) {
            memset(out, 0, PANEL_TOKENS * sizeof *out);
            continue;
        }
        float sum = row_exp2(out, chunk->scores + r * PANEL_TOKENS, after[r],
                             masked ? rows->visible[r] : ~UINT64_C(0));
        if (after[r] > before && before > -INFINITY) {
            float step = before - after[r] > -125.0f ? before - after[r] : -125.0f;
            float factor = exp2_one(step);
            *rows->sum[r] *= factor;
            rescale(rows->acc[r], factor, chunk->args->head_dim);
        }
        *rows->sum[r] += sum;
        *rows->max[r] = after[r];
    }
}

static void softmax(const struct attention_chunk *chunk, const struct attention_rows *rows,
                    bool masked)
{
    if (masked)
        softmax_rows(chunk, rows, true);
    else
        softmax_rows(chunk, rows, false);
}

static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, int frame, float *scores, uint64_t lanes)
{
    int head_dim = chunk->args->head_dim;
    float *c[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        c[r] = scores + r * PANEL_TOKENS;
    struct product product = {
        .c = c,
        .a = (const uint32_t *)chunk->queries[frame] + (size_t)rows->first * (size_t)(head_dim / 2),
        .a_stride = head_dim / 2,
        .b = panel->keys,
        .b_stride = PANEL_TOKENS,
        .pairs = head_dim / 2,
        .scale = chunk->args->scale_log2,
        .ahead = rows->ahead,
        .ahead_lines = rows->ahead_lines,
    };
    int first = __builtin_ctzll(lanes) / 16 * 16;
    int end = (79 - __builtin_clzll(lanes)) / 16 * 16;
    multiply(&product, rows->count, first, end);
}

static void accumulate(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, uint64_t lanes)
{
    int head_dim = chunk->args->head_dim;
    int first = __builtin_ctzll(lanes) / 2;
    int end = (65 - __builtin_clzll(lanes)) / 2;
    struct product product = {
        .c = rows->acc,
        .a = (const uint32_t *)chunk->other + first,
        .a_stride = PANEL_TOKENS / 2,
        .b = panel->values + (size_t)first * (size_t)head_dim,
        .b_stride = head_dim,
        .pairs = end - first,
        .accumulate = true,
        .ahead = rows->ahead + (size_t)(PANEL_TOKENS / 16 * rows->ahead_lines) * ATTENTION_LINE,
        .ahead_lines = rows->ahead_lines,
    };
    multiply(&product, rows->count, 0, head_dim);
}

static void copy_queries(void *out, const uint16_t *in, int64_t count, float scale_log2)
{
    (void)scale_log2; /* scaling them would round them once more: `score` does it */
    memcpy(out, in, (size_t)count * sizeof *in);
}

static const struct attention_tile_ops ops = {
    .query_bytes = sizeof(uint16_t),
    .copy_queries = copy_queries,
    .score = score,
    .softmax = softmax,
    .accumulate = accumulate,
};

static void attend(const struct attention_args *args)
{
    attention_walk(args, &ops);
}

size_t attention_avx512_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_avx512_install(struct kernels *kernels)
{
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
}
