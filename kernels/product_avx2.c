/* Owns the products of product.h with AVX2 and FMA: 6 rows x 16 columns of C stay in registers over
 * PRODUCT_DEPTH elements of k. A panel of B is 16 KB and stays in the first-level cache, the rows
 * of A are 144 KB and stay in the second-level one. */
#include <immintrin.h>

#include "kernels/product_copy_avx2.h"
#include "kernels/variants.h"

enum { ROWS = 6, HALF = 8, COLUMNS = 2 * HALF, GROUP = PRODUCT_WALK_GROUP };

#define INLINE static inline __attribute__((always_inline))

/* One element of k: a points at row 0's, b at the row of B. */
INLINE void step(__m256 sums[ROWS][2], const float *a, const float *b)
{
    __m256 low = _mm256_load_ps(b), high = _mm256_load_ps(b + HALF);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        __m256 factor = _mm256_broadcast_ss(a + r * GROUP);
        sums[r][0] = _mm256_fmadd_ps(factor, low, sums[r][0]);
        sums[r][1] = _mm256_fmadd_ps(factor, high, sums[r][1]);
    }
}

INLINE void sum_tile(__m256 sums[ROWS][2], const float *a, const float *b, int64_t depth)
{
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
        sums[r][0] = sums[r][1] = _mm256_setzero_ps();
    for (; depth >= GROUP; depth -= GROUP) {
#pragma GCC unroll 8
        for (int k = 0; k < GROUP; k++)
            step(sums, a + k, b + k * COLUMNS);
        a += ROWS * GROUP;
        b += GROUP * COLUMNS;
    }
    for (; depth > 0; depth--, a++, b += COLUMNS)
        step(sums, a, b);
}

INLINE void put(float *c, __m256 sums, bool accumulate)
{
    _mm256_storeu_ps(c, accumulate ? _mm256_add_ps(_mm256_loadu_ps(c), sums) : sums);
}

/* A tile at an edge of C. */
static void put_some(const struct product_tile *tile, __m256 sums[ROWS][2])
{
    for (int r = 0; r < tile->rows; r++) {
        float row[COLUMNS];
        float *c = tile->c + r * tile->c_stride;
        _mm256_storeu_ps(row, sums[r][0]);
        _mm256_storeu_ps(row + HALF, sums[r][1]);
        for (int j = 0; j < tile->columns; j++)
            c[j] = tile->accumulate ? c[j] + row[j] : row[j];
    }
}

static void multiply(const struct product_tile *tile)
{
    __m256 sums[ROWS][2];
    for (int r = 0; r < tile->rows; r++)
        __builtin_prefetch(tile->c + r * tile->c_stride, 1);
    sum_tile(sums, tile->a, tile->b, tile->depth);
    if (tile->rows < ROWS || tile->columns < COLUMNS) {
        put_some(tile, sums);
        return;
    }
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        put(tile->c + r * tile->c_stride, sums[r][0], tile->accumulate);
        put(tile->c + r * tile->c_stride + HALF, sums[r][1], tile->accumulate);
    }
}

static const struct product_walk_ops floats = {.tile_rows = ROWS,
                                               .tile_columns = COLUMNS,
                                               .element = sizeof(float),
                                               .copy_a = product_copy_avx2_a,
                                               .copy_b = product_copy_avx2_b,
                                               .multiply = multiply};

static const struct product_walk_ops rounded = {.tile_rows = ROWS,
                                                .tile_columns = COLUMNS,
                                                .element = sizeof(float),
                                                .copy_a = product_copy_avx2_rounded_a,
                                                .copy_b = product_copy_avx2_rounded_b,
                                                .multiply = multiply};

static void product(const struct product_args *args)
{
    product_walk(args, args->operand == DTYPE_BF16 ? &rounded : &floats);
}

void product_avx2_install(struct kernels *kernels)
{
    kernels->product = product;
}
