/* What the AVX-512 variants of attention share: the register tile of both products, and the
 * softmax. A variant brings one step over k and the storing of probabilities, which are inlined
 * here: every function takes what it is compiled for as a constant.
 *
 * A tile is up to 6 rows x 64 columns: 24 sums, and 8 registers for what is in flight. Every
 * element's sum runs over k in ascending order in one chain, whatever tile it falls into, so a
 * row's result does not depend on its neighbours; prefill and decode are the same arithmetic.
 */
#pragma once

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/attention_walk.h"
#include "kernels/exp_avx512.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 16, VECTORS = PANEL_TOKENS / LANES, STREAM_ROWS = 3 };

/* sums[r][v] += a[r] times vector v of b over one pair; row r's pair is at a + r * a_stride bytes.
 */
typedef void step_function(__m512 sums[ATTENTION_TILE_ROWS][VECTORS], const char *a,
                           int64_t a_stride, const uint32_t *b, const int rows, const int vectors);

/* Puts vector v of a row of probabilities where the second product reads it, in the row's scores.
 */
typedef void store_function(float *scores, int v, __m512 probabilities);

/* Few rows wait for memory: they fetch line by line, into the second level. */
INLINE void tile(const struct attention_product *product, int column, const int rows,
                 const int vectors, const int operand_bytes, step_function *step)
{
    __m512 sums[ATTENTION_TILE_ROWS][VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] = product->accumulate ? _mm512_loadu_ps(product->c[r] + column + v * LANES)
                                             : _mm512_setzero_ps();
    const char *ahead =
        product->ahead + (size_t)(column / LANES * product->ahead_lines) * ATTENTION_LINE;
    const int ahead_lines = vectors * product->ahead_lines;
    const int lines_a_step =
        rows <= STREAM_ROWS ? (ahead_lines + product->pairs - 1) / product->pairs : 0;
    for (int i = 0; rows > STREAM_ROWS && i < ahead_lines; i++)
        _mm_prefetch(ahead + i * ATTENTION_LINE, _MM_HINT_T0);
    const char *a = product->a;
    const uint32_t *b = product->b + column;
    const int64_t a_stride = (int64_t)product->a_stride * operand_bytes;
    for (int k = 0; k < product->pairs; k++, a += 2 * operand_bytes, b += product->b_stride) {
        for (int i = 0; i < lines_a_step; i++, ahead += ATTENTION_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        step(sums, a, a_stride, b, rows, vectors);
    }
    const __m512 scale = _mm512_set1_ps(product->scale);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            _mm512_storeu_ps(product->c[r] + column + v * LANES,
                             product->accumulate ? sums[r][v] : _mm512_mul_ps(sums[r][v], scale));
}

INLINE void multiply_columns(const struct attention_product *product, const int rows, int first,
                             int end, const int operand_bytes, step_function *step)
{
    int column = first;
    for (; column + PANEL_TOKENS <= end; column += PANEL_TOKENS)
        tile(product, column, rows, VECTORS, operand_bytes, step);
    for (; column + 2 * LANES <= end; column += 2 * LANES)
        tile(product, column, rows, 2, operand_bytes, step);
    for (; column < end; column += LANES)
        tile(product, column, rows, 1, operand_bytes, step);
}

/* attention_tile_ops.multiply */
INLINE void multiply_rows(const struct attention_product *product, int rows, int first, int end,
                          const int operand_bytes, step_function *step)
{
    switch (rows) {
    case 1:
        multiply_columns(product, 1, first, end, operand_bytes, step);
        return;
    case 2:
        multiply_columns(product, 2, first, end, operand_bytes, step);
        return;
    case 3:
        multiply_columns(product, 3, first, end, operand_bytes, step);
        return;
    case 4:
        multiply_columns(product, 4, first, end, operand_bytes, step);
        return;
    case 5:
        multiply_columns(product, 5, first, end, operand_bytes, step);
        return;
    default:
        multiply_columns(product, 6, first, end, operand_bytes, step);
        return;
    }
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

/* Turns a row's scores into probabilities, where not visible 0; their sum. */
INLINE float row_exp2(float *scores, float max, uint64_t visible, store_function *store)
{
    __m512 sum = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        __mmask16 mask = (__mmask16)(visible >> (v * LANES));
        __m512 x = _mm512_sub_ps(_mm512_loadu_ps(scores + v * LANES), _mm512_set1_ps(max));
        /* 2^-125 stands for everything below it: beside the 1 of the maximum it is nothing. */
        x = _mm512_max_ps(x, _mm512_set1_ps(-125.0f));
        __m512 p = _mm512_maskz_mov_ps(mask, exp2_avx512(x));
        sum = _mm512_add_ps(sum, p);
        store(scores, v, p);
    }
    return _mm512_reduce_add_ps(sum);
}

static inline void rescale(float *acc, float factor, int head_dim)
{
    for (int d = 0; d < head_dim; d += LANES)
        _mm512_storeu_ps(acc + d, _mm512_mul_ps(_mm512_loadu_ps(acc + d), _mm512_set1_ps(factor)));
}

/* attention_tile_ops.softmax. Rows go through each half together, so that one's latency hides
 * behind another's work. */
INLINE void softmax_rows(const struct attention_chunk *chunk, const struct attention_rows *rows,
                         const bool masked, store_function *store)
{
    float after[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        after[r] = row_max(chunk->scores + r * PANEL_TOKENS, *rows->max[r],
                           masked ? rows->visible[r] : ~UINT64_C(0));
    for (int r = 0; r < rows->count; r++) {
        float *scores = chunk->scores + r * PANEL_TOKENS;
        float before = *rows->max[r];
        if (masked && rows->visible[r] == 0) {
            memset(scores, 0, PANEL_TOKENS * sizeof *scores);
            continue;
        }
        float sum = row_exp2(scores, after[r], masked ? rows->visible[r] : ~UINT64_C(0), store);
        if (after[r] > before && before > -INFINITY) {
            float step = before - after[r] > -125.0f ? before - after[r] : -125.0f;
            float factor = _mm512_cvtss_f32(exp2_avx512(_mm512_set1_ps(step)));
            *rows->sum[r] *= factor;
            rescale(rows->acc[r], factor, chunk->args->head_dim);
        }
        *rows->sum[r] += sum;
        *rows->max[r] = after[r];
    }
}
