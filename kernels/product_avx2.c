/* Owns the products of product.h with AVX2 and FMA: 6 rows x 16 columns of C stay in registers over
 * PRODUCT_DEPTH elements of k. A panel of B is 16 KB and stays in the first-level cache, the rows
 * of A are 144 KB and stay in the second-level one. */
#include <immintrin.h>

#include "kernels/product_copy_avx2.h"
#include "kernels/variants.h"

enum { ROWS = 6, HALF = 8, COLUMNS = 2 * HALF, GROUP = PRODUCT_WALK_GROUP, UNROLLED = 4 };

#define INLINE static inline __attribute__((always_inline))

/* sum += a b. As an intrinsic it may become any of three instructions, and with it come copies of
 * sums between registers that cost a tenth of the rate. */
INLINE void add_product(__m256 *sum, __m256 a, __m256 b)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(*sum) : "x"(a), "x"(b));
}

/* One element of k: a points at row 0's, b at the row of B. */
INLINE void step(__m256 sums[ROWS][2], const float *a, const float *b)
{
    __m256 low = _mm256_load_ps(b), high = _mm256_load_ps(b + HALF);
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        __m256 factor = _mm256_broadcast_ss(a + r * GROUP);
        add_product(&sums[r][0], factor, low);
        add_product(&sums[r][1], factor, high);
    }
}

INLINE void sum_tile(__m256 sums[ROWS][2], const float *a, const float *b, int64_t depth)
{
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++)
        sums[r][0] = sums[r][1] = _mm256_setzero_ps();
    for (; depth >= GROUP; depth -= GROUP) {
        for (int half = 0; half < GROUP; half += UNROLLED) {
#pragma GCC unroll 4
            for (int k = 0; k < UNROLLED; k++)
                step(sums, a + k, b + k * COLUMNS);
            a += UNROLLED;
            b += UNROLLED * COLUMNS;
        }
        a += (ROWS - 1) * GROUP;
    }
    for (; depth > 0; depth--, a++, b += COLUMNS)
        step(sums, a, b);
}

INLINE void put(float *c, __m256 sums, bool accumulate)
{
    _mm256_storeu_ps(c, accumulate ? _mm256_add_ps(_mm256_loadu_ps(c), sums) : sums);
}

/* A tile at an edge of C: sums [ROWS, COLUMNS]. */
static void put_some(const struct product_tile *tile, const float *sums)
{
    for (int r = 0; r < tile->rows; r++) {
        float *c = tile->c + r * tile->c_stride;
        for (int j = 0; j < tile->columns; j++)
            c[j] = tile->accumulate ? c[j] + sums[r * COLUMNS + j] : sums[r * COLUMNS + j];
    }
}

INLINE void put_tile(float *c, int64_t c_stride, __m256 sums[ROWS][2], bool accumulate)
{
#pragma GCC unroll 6
    for (int r = 0; r < ROWS; r++) {
        put(c + r * c_stride, sums[r][0], accumulate);
        put(c + r * c_stride + HALF, sums[r][1], accumulate);
    }
}

static void multiply(const struct product_tile *tile)
{
    __m256 sums[ROWS][2];
    float edge[ROWS * COLUMNS]; /* the array of sums itself would be kept in memory */
    for (int r = 0; r < tile->rows; r++) {
        __builtin_prefetch(tile->c + r * tile->c_stride, 1);
        __builtin_prefetch(tile->c + r * tile->c_stride + COLUMNS - 1, 1);
    }
    sum_tile(sums, tile->a, tile->b, tile->depth);
    if (tile->rows == ROWS && tile->columns == COLUMNS) {
        put_tile(tile->c, tile->c_stride, sums, tile->accumulate);
    } else {
        put_tile(edge, COLUMNS, sums, false);
        put_some(tile, edge);
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
