/* What the AVX2 kernels of attention share: the softmax of a tile of rows, whatever its scores were
 * made of. */
#pragma once

#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/attention_walk.h"
#include "kernels/exp_avx2.h"
#include "kernels/lanes_avx2.h"

enum { LANES = 8 };

/* All bits of a lane set where the bit of `bits` is. */
static inline __m256 lanes_mask(unsigned bits)
{
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i all = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(all, lane));
}

/* Lanes of vector v of a row that are not visible, put to `hidden`. */
static inline __m256 hide(__m256 x, float hidden, uint64_t visible, int v)
{
    __m256 mask = lanes_mask(visible >> (v * LANES) & 0xff);
    return _mm256_blendv_ps(_mm256_set1_ps(hidden), x, mask);
}

/* The largest visible score of a row, and `max`. */
static inline __attribute__((always_inline)) float row_max(const float *scores, float max,
                                                           uint64_t visible, const bool masked)
{
    __m256 s[8];
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        s[v] = _mm256_load_ps(scores + v * LANES);
        if (masked)
            s[v] = hide(s[v], -INFINITY, visible, v);
    }
    for (int half = 4; half > 0; half /= 2)
#pragma GCC unroll 4
        for (int v = 0; v < half; v++)
            s[v] = _mm256_max_ps(s[v], s[v + half]);
    float top = lanes_largest_avx2(s[0]);
    return top > max ? top : max;
}

/* Turns a row's scores into probabilities; their sum. */
static inline __attribute__((always_inline)) float row_exp2(float *scores, float max,
                                                            uint64_t visible, const bool masked)
{
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        /* 2^-125 stands for everything below it: beside the 1 of the maximum it is nothing. The
         * larger of two numbers is the second where either is a NaN: it stays one, through
         * exp2_avx2 too, as its low bits are those of a bf16's, which are 0. */
        __m256 x = _mm256_sub_ps(_mm256_load_ps(scores + v * LANES), _mm256_set1_ps(max));
        x = _mm256_max_ps(_mm256_set1_ps(-125.0f), x);
        __m256 p = exp2_avx2(x);
        if (masked)
            p = hide(p, 0, visible, v);
        sums[v % 2] = _mm256_add_ps(sums[v % 2], p);
        _mm256_store_ps(scores + v * LANES, p);
    }
    return lanes_total_avx2(_mm256_add_ps(sums[0], sums[1]));
}

static void rescale(float *acc, float factor, int head_dim)
{
    for (int d = 0; d < head_dim; d += LANES)
        _mm256_storeu_ps(acc + d, _mm256_mul_ps(_mm256_loadu_ps(acc + d), _mm256_set1_ps(factor)));
}

/* Scores -> probabilities, and the state's step from its old maximum to the new one. Rows go
 * through each half together, so that one's latency hides behind another's work. */
static inline __attribute__((always_inline)) void softmax_rows(const struct attention_chunk *chunk,
                                                               const struct attention_rows *rows,
                                                               const bool masked)
{
    float after[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        after[r] =
            row_max(chunk->scores + r * PANEL_TOKENS, rows->max[r], rows->visible[r], masked);
    for (int r = 0; r < rows->count; r++) {
        float *scores = chunk->scores + r * PANEL_TOKENS;
        float before = rows->max[r];
        if (masked && rows->visible[r] == 0) {
            memset(scores, 0, PANEL_TOKENS * sizeof(float));
            continue;
        }
        float sum = row_exp2(scores, after[r], masked ? rows->visible[r] : 0, masked);
        if (after[r] > before && before > -INFINITY) {
            float step = before - after[r] > -125.0f ? before - after[r] : -125.0f;
            float factor = _mm256_cvtss_f32(exp2_avx2(_mm256_set1_ps(step)));
            rows->sum[r] *= factor;
            rescale(rows->acc[r], factor, chunk->args->head_dim);
        }
        rows->sum[r] += sum;
        rows->max[r] = after[r];
    }
}
