/* What the AVX-512 products of matmul.h share: reading a block of matmul_panel.h's layouts into
 * registers, the tile of a prefill, and putting sums into y. */
#pragma once

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "kernels/matmul_panel.h"
#include "kernels/matmul_walk.h"

#define INLINE static inline __attribute__((always_inline))

enum { LANES = MATMUL_SPLIT, DEPTH = MATMUL_PANEL_DEPTH };

/* Of a block: an element is quant * d[k / 16] + m. */
struct scales {
    __m512 d[2];
    __m512 m;
};

INLINE __m512 load_f16(const char *at)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)at));
}

/* Blocks are 32-byte aligned. */
INLINE __m512 load_f32(const char *at)
{
    return _mm512_loadu_ps(at);
}

INLINE struct scales load_scales(enum matmul_layout layout, const char *block)
{
    struct scales scales = {{_mm512_set1_ps(1), _mm512_set1_ps(1)}, _mm512_setzero_ps()};
    if (!matmul_layout_has_scale(layout))
        return scales;
    const char *at = block + DEPTH * LANES / (matmul_layout_is_nibbles(layout) ? 2 : 1);
    if (layout == MATMUL_LAYOUT_WIDE_BYTES) {
        scales.d[0] = load_f32(at);
        scales.d[1] = load_f32(at + LANES * 4);
        scales.m = load_f32(at + LANES * 8);
        return scales;
    }
    if (layout == MATMUL_LAYOUT_WIDE_NIBBLES) {
        scales.d[0] = scales.d[1] = load_f32(at);
        scales.m = load_f32(at + LANES * 4);
        return scales;
    }
    scales.d[0] = scales.d[1] = load_f16(at);
    if (layout == MATMUL_LAYOUT_NIBBLES)
        scales.m = _mm512_mul_ps(scales.d[0], _mm512_set1_ps(-8));
    if (layout == MATMUL_LAYOUT_NIBBLES_MIN)
        scales.m = load_f16(at + LANES * 2);
    return scales;
}

INLINE __m512i load_nibbles(const char *block, int k)
{
    return _mm512_loadu_si512(block + k / 8 * LANES * 4);
}

/* The quants of element k of a block. */
INLINE __m512 load_quants(enum matmul_layout layout, const char *block, int k)
{
    if (matmul_layout_is_nibbles(layout)) {
        __m512i shifted = _mm512_srli_epi32(load_nibbles(block, k), (unsigned)(4 * (k % 8)));
        return _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(15)));
    }
    if (layout == MATMUL_LAYOUT_FLOATS)
        return load_f32(block + k * LANES * 4);
    if (layout == MATMUL_LAYOUT_HALVES)
        return load_f16(block + k * LANES * 2);
    if (layout == MATMUL_LAYOUT_PAIRS) {
        __m512i pairs = _mm512_loadu_si512(block + k / 2 * LANES * 4);
        __m512i high = _mm512_set1_epi32((int)0xffff0000);
        return _mm512_castsi512_ps(k % 2 == 0 ? _mm512_slli_epi32(pairs, 16)
                                              : _mm512_and_si512(pairs, high));
    }
    const char *at = block + k * LANES;
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)at)));
}

/* Element k of a block in float32. */
INLINE __m512 load_value(enum matmul_layout layout, struct scales scales, const char *block, int k)
{
    __m512 value = load_quants(layout, block, k);
    if (matmul_layout_has_min(layout))
        return _mm512_fmadd_ps(value, scales.d[k / 16], scales.m);
    return matmul_layout_has_scale(layout) ? _mm512_mul_ps(value, scales.d[0]) : value;
}

/* y [count] = or += sums [LANES], the first count of them; none where count <= 0 */
INLINE void put_sums(float *y, __m512 sums, int64_t count, bool accumulate)
{
    if (count <= 0)
        return;
    __mmask16 lanes = (__mmask16)(count >= LANES ? 0xffff : (1u << count) - 1);
    if (accumulate)
        sums = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), sums);
    _mm512_mask_storeu_ps(y, lanes, sums);
}

enum { TILE_ROWS = MATMUL_TILE_ROWS, PANELS = MATMUL_TILE_PANELS };

/* sums += x times weights, for the elements from k on that a step takes. */
typedef void step_function(__m512 sums[TILE_ROWS][PANELS], const struct matmul_tile *tile,
                           int64_t k, const int panels);

INLINE void multiply_panels(const struct matmul_tile *tile, const int panels, const int elements,
                            step_function *step)
{
    __m512 sums[TILE_ROWS][PANELS];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            sums[r][p] = _mm512_setzero_ps();
    for (int64_t k = 0; k < tile->count; k += elements)
        step(sums, tile, k, panels);
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            put_sums(tile->y + r * tile->y_stride + p * LANES, sums[r][p],
                     r < tile->rows ? tile->width - p * LANES : 0, tile->accumulate);
}

/* matmul_tile_ops.multiply, by an inlined step that takes so many elements of k at once. */
INLINE void multiply_tile(const struct matmul_tile *tile, const int elements, step_function *step)
{
    if (tile->panels == 4)
        multiply_panels(tile, 4, elements, step);
    else if (tile->panels == 3)
        multiply_panels(tile, 3, elements, step);
    else if (tile->panels == 2)
        multiply_panels(tile, 2, elements, step);
    else
        multiply_panels(tile, 1, elements, step);
}
