/* Owns the AVX2 prefill products of matmul.h over the panels of matmul_panel.h. Needs AVX2, FMA and
 * F16C.
 *
 * For KEPT elements of k at a time, x is copied into dense rows and each panel is expanded to
 * float32, which fits the first-level cache, and TILE_ROWS x 16 sums stay in registers. Neither x
 * nor the weights are rounded to bf16: float32 costs nothing here.
 *
 * Promises the order over k: KEPT elements are summed one after the other, and these parts are
 * added in ascending order. No other row, column or cut of the output has a part in it. */
#include <assert.h>
#include <string.h>

#include "kernels/matmul_avx2.h"
#include "kernels/variants.h"

enum {
    TILE_ROWS = 6,
    KEPT = 256,
};

_Static_assert(KERNELS_ROWS_MAX % TILE_ROWS == 0, "x scratch holds whole tiles");

/* weights [DEPTH, LANES] */
INLINE void expand_block(enum matmul_layout layout, float *weights, const char *block)
{
    for (int half = 0; half < 2; half++) {
        struct scales scales = load_scales(layout, block, half);
        float *at = weights + half * HALF;
        if (matmul_layout_is_nibbles(layout)) {
            for (int k = 0; k < DEPTH; k += 8) {
                __m256i nibbles = load_nibbles(block, half, k);
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) {
                    __m256i quants =
                        _mm256_and_si256(_mm256_srli_epi32(nibbles, 4 * j), _mm256_set1_epi32(15));
                    _mm256_store_ps(
                        at + (k + j) * LANES,
                        _mm256_fmadd_ps(_mm256_cvtepi32_ps(quants), scales.d[0], scales.m));
                }
            }
            continue;
        }
#pragma GCC unroll 8
        for (int k = 0; k < DEPTH; k++) {
            __m256 value = load_quants(layout, block, half, k);
            if (matmul_layout_has_min(layout))
                value = _mm256_fmadd_ps(value, scales.d[k / 16], scales.m);
            else if (matmul_layout_has_scale(layout))
                value = _mm256_mul_ps(value, scales.d[0]);
            _mm256_store_ps(at + k * LANES, value);
        }
    }
}

typedef void expand_function(float *weights, const char *block);

#define EXPAND(name, layout)                                                                       \
    static void name(float *weights, const char *block)                                            \
    {                                                                                              \
        expand_block(layout, weights, block);                                                      \
    }
EXPAND(expand_floats, MATMUL_LAYOUT_FLOATS)
EXPAND(expand_halves, MATMUL_LAYOUT_HALVES)
EXPAND(expand_pairs, MATMUL_LAYOUT_PAIRS)
EXPAND(expand_bytes, MATMUL_LAYOUT_BYTES)
EXPAND(expand_nibbles, MATMUL_LAYOUT_NIBBLES)
EXPAND(expand_nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
EXPAND(expand_wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
EXPAND(expand_wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

static expand_function *const expanders[MATMUL_LAYOUT_COUNT] = {
    expand_floats,  expand_halves,      expand_pairs,        expand_bytes,
    expand_nibbles, expand_nibbles_min, expand_wide_nibbles, expand_wide_bytes,
};

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

/* Copies elements [first, first + count) of every row, zeros where x ends and up to whole tiles.
 * kept [rows, KEPT] */
static void keep_rows(float *kept, const struct matmul_args *args, int64_t first, int64_t count)
{
    int64_t tiles = (args->rows + TILE_ROWS - 1) / TILE_ROWS;
    int64_t real = least(count, args->weights->in - first);
    for (int64_t r = 0; r < tiles * TILE_ROWS; r++, kept += KEPT) {
        int64_t copied = r < args->rows ? real : 0;
        if (copied > 0)
            memcpy(kept, args->x + r * args->x_stride + first, (size_t)copied * sizeof *kept);
        memset(kept + copied, 0, (size_t)(count - copied) * sizeof *kept);
    }
}

/* One panel's columns: y [rows, width] = or += kept [rows, KEPT] times weights [count, LANES] */
static void multiply_panel(float *y, const struct matmul_args *args, const float *kept,
                           const float *weights, int64_t count, int64_t width, bool accumulate)
{
    _Alignas(32) float sums[TILE_ROWS * LANES];
    for (int64_t r = 0; r < args->rows; r += TILE_ROWS) {
        multiply_tile(sums, kept + r * KEPT, weights, count);
        int64_t rows = least(TILE_ROWS, args->rows - r);
        for (int64_t i = 0; i < rows; i++)
            put_sums(y + (r + i) * args->y_stride, sums + i * LANES, width, accumulate);
    }
}

static void prefill(const struct matmul_args *args)
{
    const struct matmul_weights *weights = args->weights;
    enum matmul_layout layout = matmul_panel_layout(weights->dtype);
    size_t block_bytes = matmul_panel_block_bytes(layout);
    int64_t blocks = matmul_panel_blocks(weights->in);
    float *kept = args->scratch;                      /* [KERNELS_ROWS_MAX, KEPT] */
    float *expanded = kept + KERNELS_ROWS_MAX * KEPT; /* [KEPT, LANES] */
    assert(args->rows <= KERNELS_ROWS_MAX && args->out_first % LANES == 0);
    if (args->rows == 0)
        return;
    for (int64_t first = 0; first < blocks; first += KEPT / DEPTH) {
        int64_t end = least(first + KEPT / DEPTH, blocks);
        keep_rows(kept, args, first * DEPTH, (end - first) * DEPTH);
        for (int64_t o = args->out_first; o < args->out_end; o += LANES) {
            const char *panel =
                (const char *)weights->packed + (size_t)(o / LANES * blocks) * block_bytes;
            for (int64_t b = first; b < end; b++)
                expanders[layout](expanded + (b - first) * DEPTH * LANES,
                                  panel + (size_t)b * block_bytes);
            multiply_panel(args->y + o, args, kept, expanded, (end - first) * DEPTH,
                           least(LANES, args->out_end - o), args->accumulate || first > 0);
        }
    }
}

size_t matmul_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    size_t prefill_bytes = (KERNELS_ROWS_MAX * KEPT + KEPT * LANES) * sizeof(float);
    size_t decode_bytes = matmul_decode_avx2_scratch_bytes(limits);
    return prefill_bytes > decode_bytes ? prefill_bytes : decode_bytes;
}

void matmul_avx2_install(struct kernels *kernels)
{
    kernels->matmul_packed_bytes = matmul_panel_packed_bytes;
    kernels->matmul_pack = matmul_panel_pack;
    kernels->matmul_row = matmul_panel_row;
    kernels->matmul_prefill = prefill;
    kernels->matmul_decode = matmul_decode_avx2;
}
