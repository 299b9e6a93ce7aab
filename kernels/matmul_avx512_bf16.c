/* Owns the prefill products of matmul.h with AVX-512 and BF16 over the panels of matmul_panel.h.
 * Needs AVX-512 F, BW, VL and BF16.
 *
 * x is rounded to bf16, up to 4 panels are expanded to bf16 pairs (bf16 weights are such pairs in
 * memory already), and 6 rows x 64 sums stay in registers. The order over k is matmul_walk.h's, in
 * pairs. */
#include <string.h>

#include "kernels/matmul_avx512.h"
#include "kernels/matmul_input_avx2.h"
#include "kernels/variants.h"

enum { KEPT = 192 };

/* pairs [DEPTH / 2, LANES, 2] bf16 */
INLINE void expand_block(enum matmul_layout layout, char *pairs, const char *block)
{
    /* Word i of the first half beside word i of the second. */
    static const _Alignas(64)
        uint16_t zipped[2 * LANES] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i order = _mm512_load_si512(zipped);
    struct scales scales = load_scales(layout, block);
#pragma GCC unroll 16
    for (int k = 0; k < DEPTH; k += 2) {
        __m512 even = load_value(layout, scales, block, k);
        __m512 odd = load_value(layout, scales, block, k + 1);
        __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
        _mm512_store_si512(pairs + k / 2 * LANES * 4, _mm512_permutexvar_epi16(order, halves));
    }
}

#define EXPAND(name, layout)                                                                       \
    static void name(void *pairs, const char *block)                                               \
    {                                                                                              \
        expand_block(layout, pairs, block);                                                        \
    }
EXPAND(expand_floats, MATMUL_LAYOUT_FLOATS)
EXPAND(expand_halves, MATMUL_LAYOUT_HALVES)
EXPAND(expand_bytes, MATMUL_LAYOUT_BYTES)
EXPAND(expand_nibbles, MATMUL_LAYOUT_NIBBLES)
EXPAND(expand_nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
EXPAND(expand_wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
EXPAND(expand_wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

static void copy_row(void *out, const float *x, int64_t real, int64_t count)
{
    for (int64_t k = 0; k < count; k += LANES) {
        int64_t left = real - k;
        __mmask16 lanes = (__mmask16)(left >= LANES ? 0xffff : left > 0 ? (1u << left) - 1 : 0);
        __m512 values = _mm512_maskz_loadu_ps(lanes, x + (left > 0 ? k : 0));
        _mm256_store_si256((__m256i *)((uint16_t *)out + k), (__m256i)_mm512_cvtneps_pbh(values));
    }
}

INLINE void step(__m512 sums[TILE_ROWS][PANELS], const struct matmul_tile *tile, int64_t k,
                 const int panels)
{
    const uint16_t *x = (const uint16_t *)tile->x + k;
    __m512i weights[PANELS];
#pragma GCC unroll 4
    for (int p = 0; p < panels; p++)
        weights[p] = _mm512_loadu_si512((const char *)tile->weights[p] + k / 2 * LANES * 4);
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) {
        int pair;
        memcpy(&pair, x + r * KEPT, sizeof pair);
        __m512bh factor = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            sums[r][p] = _mm512_dpbf16_ps(sums[r][p], factor, (__m512bh)weights[p]);
    }
}

static void multiply(const struct matmul_tile *tile)
{
    multiply_tile(tile, 2, step);
}

static const struct matmul_tile_ops ops = {
    .kept = KEPT,
    .panels = PANELS,
    .row_bytes = KEPT * sizeof(uint16_t),
    .block_bytes = MATMUL_PANEL_DEPTH * MATMUL_SPLIT * sizeof(uint16_t),
    .copy_row = copy_row,
    .expand = {expand_floats, expand_halves, NULL, expand_bytes, expand_nibbles, expand_nibbles_min,
               expand_wide_nibbles, expand_wide_bytes},
    .multiply = multiply,
};

static void prefill(const struct matmul_args *args)
{
    matmul_walk(args, &ops);
}

size_t matmul_avx512_bf16_scratch_bytes(const struct kernels_limits *limits)
{
    size_t prefill_bytes = matmul_walk_scratch_bytes(&ops);
    size_t decode_bytes = matmul_input_scratch_bytes(limits);
    return prefill_bytes > decode_bytes ? prefill_bytes : decode_bytes;
}

/* The decode products are those of the variant before this one. */
void matmul_avx512_bf16_install(struct kernels *kernels)
{
    kernels->matmul_prefill = prefill;
}
