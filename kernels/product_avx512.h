/* What the AVX-512 products of product.h share: a tile of 12 rows x 32 columns of C in registers,
 * and how it comes into C. */
#pragma once

#include <immintrin.h>

#include "kernels/product_walk.h"

enum {
    ROWS = 12,
    LANES = 16,
    COLUMNS = 2 * LANES,
    GROUP = PRODUCT_WALK_GROUP,
};

#define INLINE static inline __attribute__((always_inline))

INLINE void clear_sums(__m512 sums[ROWS][2])
{
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++)
        sums[r][0] = sums[r][1] = _mm512_setzero_ps();
}

/* c [count] = or += sums [LANES], the first count of them; none where count <= 0 */
INLINE void put_lanes(float *c, __m512 sums, int count, bool accumulate)
{
    if (count <= 0)
        return;
    __mmask16 lanes = (__mmask16)(count >= LANES ? 0xffff : (1u << count) - 1);
    if (accumulate)
        sums = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, c), sums);
    _mm512_mask_storeu_ps(c, lanes, sums);
}

INLINE void put_sums(const struct product_tile *tile, __m512 sums[ROWS][2])
{
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
        float *c = tile->c + r * tile->c_stride;
        if (r < tile->rows) {
            put_lanes(c, sums[r][0], tile->columns, tile->accumulate);
            put_lanes(c + LANES, sums[r][1], tile->columns - LANES, tile->accumulate);
        }
    }
}

INLINE void fetch_tile(const struct product_tile *tile)
{
    for (int r = 0; r < tile->rows; r++) {
        __builtin_prefetch(tile->c + r * tile->c_stride, 1);
        __builtin_prefetch(tile->c + r * tile->c_stride + LANES, 1);
    }
}
