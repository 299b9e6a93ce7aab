/* Owns the products of product.h whose operands are bf16 with AVX-512 and BF16: panels are copied
 * in float32 first and then rounded, [depth / 8, rows, 8] of A, and of B [depth / 2, columns, 2].
 * Where depth is odd its pair has zeros. Products of float32 are those of the variant before this
 * one. Needs AVX-512 F, BW, VL and BF16. */
#include <string.h>

#include "kernels/product_avx512.h"
#include "kernels/product_copy_avx2.h"
#include "kernels/variants.h"

static void round_panel(uint16_t *out, const float *in, int64_t count)
{
    for (int64_t i = 0; i < count; i += LANES)
        _mm256_store_si256((__m256i *)(out + i),
                           (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(in + i)));
}

static void copy_a(void *panels, const struct product_lines *from, void *spare)
{
    int64_t count = (from->depth + GROUP - 1) / GROUP * GROUP * ROWS;
    product_copy_avx2_a(spare, from, NULL);
    for (int64_t l = 0; l < from->lines; l += ROWS)
        round_panel((uint16_t *)panels + l * PRODUCT_DEPTH,
                    (const float *)spare + l * PRODUCT_DEPTH, count);
}

/* Two rows of B, element by element side by side. */
INLINE void zip(uint16_t *out, __m512 even, __m512 odd)
{
    static const _Alignas(64)
        uint16_t zipped[2 * LANES] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
    _mm512_store_si512(out, _mm512_permutexvar_epi16(_mm512_load_si512(zipped), halves));
}

static void zip_panel(uint16_t *out, const float *in, int64_t depth)
{
    for (int64_t k = 0; k < depth; k += 2, in += 2 * COLUMNS)
        for (int l = 0; l < COLUMNS; l += LANES, out += 2 * LANES) {
            __m512 odd = _mm512_setzero_ps();
            if (k + 1 < depth)
                odd = _mm512_loadu_ps(in + COLUMNS + l);
            zip(out, _mm512_loadu_ps(in + l), odd);
        }
}

static void copy_b(void *panels, const struct product_lines *from, void *spare)
{
    product_copy_avx2_b(spare, from, NULL);
    for (int64_t l = 0; l < from->lines; l += COLUMNS)
        zip_panel((uint16_t *)panels + l * PRODUCT_DEPTH, (const float *)spare + l * PRODUCT_DEPTH,
                  from->depth);
}

/* Two elements of k: a points at row 0's, b at the pairs of B. */
INLINE void step(__m512 sums[ROWS][2], const uint16_t *a, const uint16_t *b)
{
    __m512bh low = (__m512bh)_mm512_load_si512(b);
    __m512bh high = (__m512bh)_mm512_load_si512(b + 2 * LANES);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; r++) {
        int pair;
        memcpy(&pair, a + r * GROUP, sizeof pair);
        __m512bh factor = (__m512bh)_mm512_set1_epi32(pair);
        sums[r][0] = _mm512_dpbf16_ps(sums[r][0], factor, low);
        sums[r][1] = _mm512_dpbf16_ps(sums[r][1], factor, high);
    }
}

static void multiply(const struct product_tile *tile)
{
    __m512 sums[ROWS][2];
    const uint16_t *a = tile->a, *b = tile->b;
    int64_t depth = tile->depth;
    fetch_tile(tile);
    clear_sums(sums);
    for (; depth >= GROUP; depth -= GROUP) {
#pragma GCC unroll 4
        for (int k = 0; k < GROUP; k += 2)
            step(sums, a + k, b + k * COLUMNS);
        a += ROWS * GROUP;
        b += GROUP * COLUMNS;
    }
    for (; depth > 0; depth -= 2, a += 2, b += 2 * COLUMNS)
        step(sums, a, b);
    put_sums(tile, sums);
}

static const struct product_walk_ops pairs = {
    .tile_rows = ROWS,
    .tile_columns = COLUMNS,
    .element = sizeof(uint16_t),
    .spare = PRODUCT_DEPTH * PRODUCT_WALK_LINES * sizeof(float),
    .copy_a = copy_a,
    .copy_b = copy_b,
    .multiply = multiply,
};

static void product(const struct product_args *args)
{
    if (args->operand == DTYPE_BF16)
        product_walk(args, &pairs);
    else
        product_avx512(args);
}

void product_avx512_bf16_install(struct kernels *kernels)
{
    kernels->product = product;
}
