/* Owns the AVX-512 prefill products of matmul.h with plain weights, over the panels of
 * matmul_panel.h. Needs AVX-512 F, BW and VL.
 *
 * As in matmul_avx2.c, nothing is rounded to bf16: up to 4 panels are expanded to float32, KEPT
 * elements of them fit the first-level cache of 32 KB, and 6 rows x 64 sums stay in registers. The
 * order over k is matmul_walk.h's. */
#include "kernels/matmul_avx512.h"
#include "kernels/matmul_input_avx2.h"
#include "kernels/matmul_integers.h"
#include "kernels/variants.h"

enum { KEPT = 96 };

/* weights [DEPTH, LANES] */
INLINE void expand_block(enum matmul_layout layout, float *weights, const char *block)
{
#pragma GCC unroll 8
    for (int k = 0; k < DEPTH; k++)
        _mm512_store_ps(weights + k * LANES, load_quants(layout, block, k));
}

#define EXPAND(name, layout)                                                                       \
    static void name(void *weights, const char *block)                                             \
    {                                                                                              \
        expand_block(layout, weights, block);                                                      \
    }
EXPAND(expand_halves, MATMUL_LAYOUT_HALVES)
EXPAND(expand_pairs, MATMUL_LAYOUT_PAIRS)

INLINE void step(__m512 sums[TILE_ROWS][PANELS], const struct matmul_tile *tile, int64_t k,
                 const int panels)
{
    const float *x = (const float *)tile->x + k;
    __m512 weights[PANELS];
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++)
        weights[p] = _mm512_loadu_ps((const float *)tile->weights[p] + k * LANES);
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) {
        __m512 factor = _mm512_set1_ps(x[r * KEPT]);
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            sums[r][p] = _mm512_fmadd_ps(factor, weights[p], sums[r][p]);
    }
}

static void multiply(const struct matmul_tile *tile)
{
    multiply_tile(tile, 1, step);
}

static const struct matmul_tile_ops ops = {
    .kept = KEPT,
    .panels = PANELS,
    .row_bytes = KEPT * sizeof(float),
    .block_bytes = MATMUL_PANEL_DEPTH * MATMUL_SPLIT * sizeof(float),
    .copy_row = matmul_walk_copy_floats,
    .expand = {NULL, expand_halves, expand_pairs},
    .multiply = multiply,
};

void matmul_plain_avx512(const struct matmul_args *args)
{
    matmul_walk(args, &ops);
}

size_t matmul_avx512_scratch_bytes(const struct kernels_limits *limits)
{
    const size_t plain = matmul_walk_scratch_bytes(&ops);
    const size_t integers = matmul_integers_scratch_bytes(MATMUL_INTEGERS_PANELS);
    const size_t decode = matmul_input_scratch_bytes(limits);
    const size_t prefill = plain > integers ? plain : integers;
    return prefill > decode ? prefill : decode;
}

void matmul_avx512_install(struct kernels *kernels)
{
    kernels->matmul_prefill = matmul_prefill_avx512;
    kernels->matmul_decode = matmul_decode_avx512;
}
