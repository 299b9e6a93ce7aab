/* What the AVX-512 variants of attention share: the register tile of both products, and the
 * softmax. A variant brings one step over k and the storing of probabilities, which are inlined
 * here: every function takes what it is compiled for as a constant.
 *
 * A tile is up to 6 rows x 64 columns: 24 sums, and 8 registers for what is in flight. Where all of
 * a panel is seen through one frame, its scores never leave the registers before they are
 * probabilities. Every element's sum runs over k in ascending order in one chain, whatever tile it
 * falls into, so a row's result does not depend on its neighbours; prefill and decode are the same
 * arithmetic, and so is a tile with masks: it takes its scores from memory, and goes on alike.
 */
#pragma once

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/attention_walk.h"
#include "kernels/exp_avx512.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, VECTORS = PANEL_TOKENS / LANES, STREAM_ROWS = 3 };

/* sums[r][v] += a[r] times vector v of b over one pair; row r's pair is at a + r * a_stride
 * bytes. */
typedef void step_function(__m512 sums[ATTENTION_TILE_ROWS][VECTORS], const char *a,
                           int64_t a_stride, const uint32_t *b, const int rows, const int vectors);

/* Puts a row's 64 probabilities where the second product reads them, in the row's scores. */
typedef void store_function(float *scores, const __m512 probabilities[VECTORS]);

/* What a variant is made of, all constant where it is inlined. */
struct arithmetic {
    int operand_bytes;
    bool coarse; /* exp2_avx512's */
    step_function *step;
    store_function *store;
};

/* sums (+)= the product's columns from `column` on. Few rows wait for memory: they fetch line by
 * line, into the second level. */
INLINE void add_products(__m512 sums[ATTENTION_TILE_ROWS][VECTORS],
                         const struct attention_product *product, int column, const int rows,
                         const int vectors, const struct arithmetic arithmetic)
{
    const char *ahead =
        product->ahead + (size_t)(column / LANES * product->ahead_lines) * ATTENTION_LINE;
    const int ahead_lines = vectors * product->ahead_lines;
    const int lines_a_step =
        rows <= STREAM_ROWS ? (ahead_lines + product->pairs - 1) / product->pairs : 0;
    for (int i = 0; rows > STREAM_ROWS && i < ahead_lines; i++)
        _mm_prefetch(ahead + i * ATTENTION_LINE, _MM_HINT_T0);
    const char *a = product->a;
    const uint32_t *b = product->b + column;
    const int64_t a_stride = (int64_t)product->a_stride * arithmetic.operand_bytes;
    for (int k = 0; k < product->pairs; k++) {
        for (int i = 0; i < lines_a_step; i++, ahead += ATTENTION_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        arithmetic.step(sums, a, a_stride, b, rows, vectors);
        a += 2 * arithmetic.operand_bytes;
        b += product->b_stride;
    }
}

INLINE void tile(const struct attention_product *product, int column, const int rows,
                 const int vectors, const struct arithmetic arithmetic)
{
    __m512 sums[ATTENTION_TILE_ROWS][VECTORS];
    float *const *c = product->c;
    const bool accumulate = product->accumulate;
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] =
                accumulate ? _mm512_loadu_ps(c[r] + column + v * LANES) : _mm512_setzero_ps();
    add_products(sums, product, column, rows, vectors, arithmetic);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm512_storeu_ps(c[r] + column + v * LANES, sums[r][v]);
}

INLINE void multiply_columns(const struct attention_product *product, const int rows, int first,
                             int end, const struct arithmetic arithmetic)
{
    int column = first;
    for (; column + PANEL_TOKENS <= end; column += PANEL_TOKENS)
        tile(product, column, rows, VECTORS, arithmetic);
    for (; column + 2 * LANES <= end; column += 2 * LANES)
        tile(product, column, rows, 2, arithmetic);
    for (; column < end; column += LANES)
        tile(product, column, rows, 1, arithmetic);
}

INLINE __m512 larger_or_sum(__m512 a, __m512 b, const bool largest)
{
    return largest ? _mm512_max_ps(a, b) : _mm512_add_ps(a, b);
}

/* The largest element, or the sum, of each row's vector: element r of the result is row r's, and
 * every row's elements are combined in the same order. */
INLINE __m256 across(const __m512 vectors[ATTENTION_TILE_ROWS], const int rows, const bool largest)
{
    __m512 pairs[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        if (2 * i >= rows) {
            pairs[i] = _mm512_setzero_ps();
            continue;
        }
        const __m512 even = vectors[2 * i], odd = vectors[2 * i + 1 < rows ? 2 * i + 1 : 2 * i];
        pairs[i] =
            larger_or_sum(_mm512_unpacklo_ps(even, odd), _mm512_unpackhi_ps(even, odd), largest);
    }
    __m512 fours[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m512d low = _mm512_castps_pd(pairs[2 * i]);
        const __m512d high = _mm512_castps_pd(pairs[2 * i + 1]);
        fours[i] = larger_or_sum(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)),
                                 _mm512_castpd_ps(_mm512_unpackhi_pd(low, high)), largest);
    }
    const __m512 eights = larger_or_sum(_mm512_shuffle_f32x4(fours[0], fours[1], 0x88),
                                        _mm512_shuffle_f32x4(fours[0], fours[1], 0xdd), largest);
    const __m512 all = larger_or_sum(eights, _mm512_shuffle_f32x4(eights, eights, 0xb1), largest);
    return _mm512_castps512_ps256(_mm512_shuffle_f32x4(all, all, 0x88));
}

/* Multiplies each row's acc by its factor. */
static __attribute__((noinline)) void rescale(float *const *acc, __m256 factors, int rows,
                                              int head_dim)
{
    float factor[8];
    _mm256_storeu_ps(factor, factors);
    for (int r = 0; r < rows; r++)
        for (int d = 0; factor[r] != 1 && d < head_dim; d += LANES)
            _mm512_storeu_ps(acc[r] + d,
                             _mm512_mul_ps(_mm512_loadu_ps(acc[r] + d), _mm512_set1_ps(factor[r])));
}

/* The first `rows` elements, of eight that may be read. */
INLINE void store_rows(float *at, __m256 values, int rows)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(at, _mm256_cmpgt_epi32(_mm256_set1_epi32(rows), lane), values);
}

/* Turns scores (not scaled yet) into probabilities, and steps the rows' state to the new maxima. A
 * row's maximum starts at -inf, beside which 2^-125 of an empty acc is as empty. visible: lanes of
 * each row, or NULL for all. */
INLINE void softmax_tile(const __m512 scores[ATTENTION_TILE_ROWS][VECTORS],
                         const struct attention_chunk *chunk, const struct attention_rows *rows,
                         const uint64_t *visible, const int tile_rows,
                         const struct arithmetic arithmetic)
{
    const __m512 hidden = _mm512_set1_ps(-INFINITY);
    const __m512 scale = _mm512_set1_ps(chunk->args->scale_log2);
    __m512 vectors[ATTENTION_TILE_ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < tile_rows; r++) {
        __m512 s[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            s[v] = visible ? _mm512_mask_mov_ps(hidden, (__mmask16)(visible[r] >> (v * LANES)),
                                                scores[r][v])
                           : scores[r][v];
        vectors[r] = _mm512_max_ps(_mm512_max_ps(s[0], s[1]), _mm512_max_ps(s[2], s[3]));
    }
    const __m256 before = _mm256_loadu_ps(rows->max);
    const __m256 tops = across(vectors, tile_rows, true);
    const __m256 after = _mm256_max_ps(_mm256_mul_ps(tops, _mm512_castps512_ps256(scale)), before);
    store_rows(rows->max, after, rows->count);
#pragma GCC unroll 6
    for (int r = 0; r < tile_rows; r++) {
        const __m512 max = _mm512_set1_ps(rows->max[r]);
        __m512 p[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++) {
            p[v] = exp2_avx512(_mm512_fmsub_ps(scores[r][v], scale, max), arithmetic.coarse);
            if (visible)
                p[v] = _mm512_maskz_mov_ps((__mmask16)(visible[r] >> (v * LANES)), p[v]);
        }
        vectors[r] = _mm512_add_ps(_mm512_add_ps(p[0], p[1]), _mm512_add_ps(p[2], p[3]));
        arithmetic.store(chunk->scores + r * PANEL_TOKENS, p);
    }
    const __m256 risen = _mm256_cmp_ps(after, before, _CMP_GT_OQ);
    __m256 sums = _mm256_loadu_ps(rows->sum);
    if (_mm256_movemask_ps(risen) & ((1 << rows->count) - 1)) {
        const __m256 steps = _mm256_max_ps(_mm256_sub_ps(before, after), _mm256_set1_ps(-125.0f));
        /* Exactly 1 where a maximum did not rise. */
        const __m256 factors =
            _mm512_castps512_ps256(exp2_avx512(_mm512_castps256_ps512(steps), false));
        sums = _mm256_mul_ps(sums, factors);
        rescale(rows->acc, factors, rows->count, chunk->args->head_dim);
    }
    store_rows(rows->sum, _mm256_add_ps(sums, across(vectors, tile_rows, false)), rows->count);
}

INLINE void whole_rows(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, struct attention_view view,
                       const int tile_rows, const struct arithmetic arithmetic)
{
    __m512 scores[ATTENTION_TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            scores[r][v] = _mm512_setzero_ps();
    struct attention_product product;
    attention_walk_scores(&product, chunk, panel, rows, view);
    add_products(scores, &product, 0, tile_rows, VECTORS, arithmetic);
    softmax_tile(scores, chunk, rows, NULL, tile_rows, arithmetic);
    attention_walk_values(&product, chunk, panel, rows, ~UINT64_C(0),
                          (size_t)arithmetic.operand_bytes);
    multiply_columns(&product, tile_rows, 0, chunk->args->head_dim, arithmetic);
}

INLINE void multiply_rows(const struct attention_product *product, int rows, int first, int end,
                          const struct arithmetic arithmetic)
{
#define CALL(rows) multiply_columns(product, rows, first, end, arithmetic)
    EACH_COUNT_OF_ROWS(rows, CALL);
#undef CALL
}

/* attention_tile_ops.score */
INLINE void score_tile(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, struct attention_view view, float *scores,
                       int first, int end, const struct arithmetic arithmetic)
{
    struct attention_product product;
    float *c[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        c[r] = scores + r * PANEL_TOKENS;
    attention_walk_scores(&product, chunk, panel, rows, view);
    product.c = c;
    multiply_rows(&product, rows->count, first, end, arithmetic);
}

/* attention_tile_ops.whole */
INLINE void whole_tile(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, struct attention_view view,
                       const struct arithmetic arithmetic)
{
#define CALL(tile_rows) whole_rows(chunk, panel, rows, view, tile_rows, arithmetic)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
}

/* chunk->scores -> probabilities, and the state's step. visible: lanes of each row, or NULL. */
INLINE void softmax_stored(const struct attention_chunk *chunk, const struct attention_rows *rows,
                           const uint64_t *visible, const int tile_rows,
                           const struct arithmetic arithmetic)
{
    __m512 scores[ATTENTION_TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < tile_rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; v++)
            scores[r][v] = _mm512_loadu_ps(chunk->scores + r * PANEL_TOKENS + v * LANES);
    softmax_tile(scores, chunk, rows, visible, tile_rows, arithmetic);
}

/* Of a tile with masks; rows that are not there see nothing. */
INLINE void softmax_masked(const struct attention_chunk *chunk, const struct attention_rows *rows,
                           const struct arithmetic arithmetic)
{
    softmax_stored(chunk, rows, rows->visible, ATTENTION_TILE_ROWS, arithmetic);
}

/* attention_tile_ops.fold */
INLINE void fold_tile(const struct attention_chunk *chunk, const struct attention_panel *panel,
                      const struct attention_rows *rows, uint64_t lanes,
                      const struct arithmetic arithmetic)
{
    softmax_masked(chunk, rows, arithmetic);
    struct attention_product product;
    attention_walk_values(&product, chunk, panel, rows, lanes, (size_t)arithmetic.operand_bytes);
    multiply_rows(&product, rows->count, 0, chunk->args->head_dim, arithmetic);
}

/* Defines `ops` of a variant with bf16 queries and panels from its step, store and copy_queries. */
#define ATTENTION_DEFINE_OPS(bytes, is_coarse)                                                     \
    static const struct arithmetic arithmetic = {bytes, is_coarse, step, store};                   \
    static size_t row_bytes(int head_dim)                                                          \
    {                                                                                              \
        return (size_t)head_dim * (bytes);                                                         \
    }                                                                                              \
    static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,    \
                      const struct attention_rows *rows, struct attention_view view,               \
                      float *scores, int first, int end)                                           \
    {                                                                                              \
        score_tile(chunk, panel, rows, view, scores, first, end, arithmetic);                      \
    }                                                                                              \
    static void fold(const struct attention_chunk *chunk, const struct attention_panel *panel,     \
                     const struct attention_rows *rows, uint64_t lanes)                            \
    {                                                                                              \
        fold_tile(chunk, panel, rows, lanes, arithmetic);                                          \
    }                                                                                              \
    static void whole(const struct attention_chunk *chunk, const struct attention_panel *panel,    \
                      const struct attention_rows *rows, struct attention_view view)               \
    {                                                                                              \
        whole_tile(chunk, panel, rows, view, arithmetic);                                          \
    }                                                                                              \
    static const struct attention_tile_ops ops = {                                                 \
        .operand = DTYPE_BF16,                                                                     \
        .cache = DTYPE_BF16,                                                                       \
        .row_bytes = row_bytes,                                                                    \
        .copy_queries = copy_queries,                                                              \
        .scales_late = true,                                                                       \
        .score = score,                                                                            \
        .fold = fold,                                                                              \
        .whole = whole,                                                                            \
    };
