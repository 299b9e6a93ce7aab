/* What the AVX2 products of matmul.h share: reading a block of matmul_panel.h's layouts into
 * registers, and putting sums into y. */
#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/matmul_panel.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = MATMUL_SPLIT,
    HALF = LANES / 2, /* lanes of a register */
    DEPTH = MATMUL_PANEL_DEPTH,
};

/* Of HALF rows of a block: an element is quant * d[k / 16] + m. */
struct scales {
    __m256 d[2];
    __m256 m;
};

INLINE __m256 load_f16(const char *at)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)at));
}

INLINE __m256 load_f32(const char *at)
{
    return _mm256_load_ps((const float *)at);
}

INLINE struct scales load_scales(enum matmul_layout layout, const char *block, int half)
{
    struct scales scales = {.m = _mm256_setzero_ps()};
    const char *at = block + DEPTH * LANES / (matmul_layout_is_nibbles(layout) ? 2 : 1);
    if (layout == MATMUL_LAYOUT_WIDE_BYTES) {
        at += half * HALF * 4;
        scales.d[0] = load_f32(at);
        scales.d[1] = load_f32(at + LANES * 4);
        scales.m = load_f32(at + LANES * 8);
        return scales;
    }
    if (layout == MATMUL_LAYOUT_WIDE_NIBBLES) {
        at += half * HALF * 4;
        scales.d[0] = scales.d[1] = load_f32(at);
        scales.m = load_f32(at + LANES * 4);
        return scales;
    }
    at += half * HALF * 2;
    scales.d[0] = scales.d[1] = load_f16(at);
    if (layout == MATMUL_LAYOUT_NIBBLES)
        scales.m = _mm256_mul_ps(scales.d[0], _mm256_set1_ps(-8));
    if (layout == MATMUL_LAYOUT_NIBBLES_MIN)
        scales.m = load_f16(at + LANES * 2);
    return scales;
}

/* Element k of HALF rows, for the layouts of plain weights. */
INLINE __m256 load_plain(enum matmul_layout layout, const char *block, int half, int k)
{
    if (layout == MATMUL_LAYOUT_FLOATS)
        return load_f32(block + (k * LANES + half * HALF) * 4);
    if (layout == MATMUL_LAYOUT_HALVES)
        return load_f16(block + (k * LANES + half * HALF) * 2);
    const char *at = block + (k / 2 * LANES + half * HALF) * 4;
    __m256i pairs = _mm256_load_si256((const __m256i *)at);
    __m256i high = _mm256_set1_epi32((int)0xffff0000);
    return _mm256_castsi256_ps(k % 2 == 0 ? _mm256_slli_epi32(pairs, 16)
                                          : _mm256_and_si256(pairs, high));
}

INLINE __m256i load_nibbles(const char *block, int half, int k)
{
    return _mm256_load_si256((const __m256i *)(block + (k / 8 * LANES + half * HALF) * 4));
}

/* y [count] = or += sums [LANES], count <= LANES */
INLINE void put_sums(float *y, const float *sums, int64_t count, bool accumulate)
{
    if (count == LANES) {
        __m256 low = _mm256_load_ps(sums), high = _mm256_load_ps(sums + HALF);
        if (accumulate) {
            low = _mm256_add_ps(_mm256_loadu_ps(y), low);
            high = _mm256_add_ps(_mm256_loadu_ps(y + HALF), high);
        }
        _mm256_storeu_ps(y, low);
        _mm256_storeu_ps(y + HALF, high);
        return;
    }
    for (int64_t o = 0; o < count; o++)
        y[o] = accumulate ? y[o] + sums[o] : sums[o];
}
