/* Owns the AVX2 prefill products of matmul.h with plain weights, over the panels of matmul_panel.h.
 * Needs AVX2, FMA and F16C.
 *
 * A panel is expanded to float32, KEPT elements of it fit the first-level cache, and TILE_ROWS x 16
 * sums stay in registers. Neither x nor the weights are rounded to bf16: float32 costs nothing
 * here. The order over k is matmul_walk.h's. */
#include "kernels/matmul_avx2.h"
#include "kernels/matmul_input_avx2.h"
#include "kernels/matmul_integers.h"
#include "kernels/matmul_walk.h"
#include "kernels/variants.h"

enum {
    TILE_ROWS = MATMUL_TILE_ROWS,
    KEPT = 256,
};

/* weights [DEPTH, LANES] */
INLINE void expand_block(enum matmul_layout layout, float *weights, const char *block)
{
    for (int half = 0; half < 2; half++)
#pragma GCC unroll 8
        for (int k = 0; k < DEPTH; k++)
            _mm256_store_ps(weights + k * LANES + half * HALF, load_plain(layout, block, half, k));
}

#define EXPAND(name, layout)                                                                       \
    static void name(void *weights, const char *block)                                             \
    {                                                                                              \
        expand_block(layout, weights, block);                                                      \
    }
EXPAND(expand_floats, MATMUL_LAYOUT_FLOATS)
EXPAND(expand_halves, MATMUL_LAYOUT_HALVES)
EXPAND(expand_pairs, MATMUL_LAYOUT_PAIRS)

/* sums [TILE_ROWS, LANES] = x [TILE_ROWS, KEPT] times weights [count, LANES], over count <= KEPT */
static void multiply_tile(float *sums, const float *x, const float *weights, int64_t count)
{
    __m256 tile[TILE_ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
        tile[r][0] = tile[r][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < count; k++) {
        __m256 low = _mm256_load_ps(weights + k * LANES);
        __m256 high = _mm256_load_ps(weights + k * LANES + HALF);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            __m256 factor = _mm256_broadcast_ss(x + r * KEPT + k);
            tile[r][0] = _mm256_fmadd_ps(factor, low, tile[r][0]);
            tile[r][1] = _mm256_fmadd_ps(factor, high, tile[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) {
        _mm256_store_ps(sums + r * LANES, tile[r][0]);
        _mm256_store_ps(sums + r * LANES + HALF, tile[r][1]);
    }
}

static void multiply(const struct matmul_tile *given)
{
    _Alignas(32) float sums[TILE_ROWS * LANES];
    const struct matmul_tile tile = *given; /* else every store to y is followed by reading it */
    multiply_tile(sums, tile.x, tile.weights[0], tile.count);
    for (int r = 0; r < tile.rows; r++)
        put_sums(tile.y + r * tile.y_stride, sums + r * LANES, tile.width, tile.accumulate);
}

static const struct matmul_tile_ops ops = {
    .kept = KEPT,
    .panels = 1,
    .row_bytes = KEPT * sizeof(float),
    .block_bytes = MATMUL_PANEL_DEPTH * MATMUL_SPLIT * sizeof(float),
    .copy_row = matmul_walk_copy_floats,
    .expand = {expand_floats, expand_halves, expand_pairs},
    .multiply = multiply,
};

void matmul_plain_avx2(const struct matmul_args *args)
{
    matmul_walk(args, &ops);
}

size_t matmul_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    const size_t plain = matmul_walk_scratch_bytes(&ops);
    const size_t integers = matmul_integers_scratch_bytes(1);
    const size_t decode = matmul_input_scratch_bytes(limits);
    const size_t prefill = plain > integers ? plain : integers;
    return prefill > decode ? prefill : decode;
}

void matmul_avx2_install(struct kernels *kernels)
{
    kernels->matmul_packed_bytes = matmul_panel_packed_bytes;
    kernels->matmul_pack = matmul_panel_pack;
    kernels->matmul_row = matmul_panel_row;
    kernels->matmul_prefill = matmul_prefill_avx2;
    kernels->matmul_decode = matmul_decode_avx2;
}
