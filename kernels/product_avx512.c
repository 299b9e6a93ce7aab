/* Owns the products of product.h with AVX-512: panels are copied as AVX2 does it, and 12 rows x 32
 * columns of C stay in registers over PRODUCT_DEPTH elements of k. Needs AVX-512 F, BW and VL. */
#include "kernels/product_avx512.h"
#include "kernels/product_copy_avx2.h"
#include "kernels/variants.h"

/* One element of k: a points at row 0's, b at the row of B. */
INLINE void step(__m512 sums[ROWS][2], const float *a, const float *b)
{
    __m512 low = _mm512_loadu_ps(b), high = _mm512_loadu_ps(b + LANES);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
        __m512 factor = _mm512_set1_ps(a[r * GROUP]);
        sums[r][0] = _mm512_fmadd_ps(factor, low, sums[r][0]);
        sums[r][1] = _mm512_fmadd_ps(factor, high, sums[r][1]);
    }
}

static void multiply(const struct product_tile *tile)
{
    __m512 sums[ROWS][2];
    const float *a = tile->a, *b = tile->b;
    int64_t depth = tile->depth;
    fetch_tile(tile);
    clear_sums(sums);
    for (; depth >= GROUP; depth -= GROUP) {
#pragma GCC unroll 8
        for (int k = 0; k < GROUP; k++)
            step(sums, a + k, b + k * COLUMNS);
        a += ROWS * GROUP;
        b += GROUP * COLUMNS;
    }
    for (; depth > 0; depth--, a++, b += COLUMNS)
        step(sums, a, b);
    put_sums(tile, sums);
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

void product_avx512(const struct product_args *args)
{
    product_walk(args, args->operand == DTYPE_BF16 ? &rounded : &floats);
}

void product_avx512_install(struct kernels *kernels)
{
    kernels->product = product_avx512;
}
