/* Owns the AVX-512 decode products of matmul.h over the panels of matmul_panel.h, those of
 * avx512_bf16 too. Needs AVX-512 F, BW and VL.
 *
 * As in matmul_decode_avx2.c, quantised weights are multiplied as the integers they are, with x as
 * matmul_input_avx2.h's integers; a register holds all rows of a panel. Plain weights are
 * multiplied in float32.
 *
 * Promises the order over k: the integer sums are exact, blocks are added in ascending order; plain
 * weights in four chains, k mod 4, a block. No other row, column or cut of the output has a part in
 * it. */
#include <string.h>

#include "kernels/matmul_avx512.h"
#include "kernels/matmul_input_avx2.h"
#include "kernels/variants.h"

enum { CHAINS = 4, PASS_ROWS = 4, PASS_PANELS = MATMUL_PASS_PANELS };

/* ---- quantised weights ---- */

/* Pairs of quants, as the pairs of units lie: from element k of a block's eight on. */
INLINE __m512i load_pairs(enum matmul_layout layout, const char *eight, int k)
{
    if (matmul_layout_is_nibbles(layout)) {
        __m512i pairs = _mm512_srli_epi16(_mm512_loadu_si512(eight), 2 * k);
        return k == 6 ? pairs : _mm512_and_si512(pairs, _mm512_set1_epi16(15));
    }
    const __m128i *at = (const __m128i *)(eight + k * LANES);
    __m512i even = _mm512_cvtepi8_epi32(_mm_load_si128(at));
    __m512i odd = _mm512_cvtepi8_epi32(_mm_load_si128(at + 1));
    return _mm512_mask_blend_epi16(0xaaaaaaaa, even, _mm512_slli_epi32(odd, 16));
}

/* sums += quants * units over 8 elements of a block; the panels lie panel_bytes apart. */
INLINE void add_eight(struct matmul_pass pass, __m512i sums[PASS_PANELS][PASS_ROWS],
                      const char *eight, size_t panel_bytes, const int16_t *units, int64_t stride)
{
#pragma GCC unroll 4
    for (int k = 0; k < 8; k += 2)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++) {
            __m512i quants = load_pairs(pass.layout, eight + (size_t)p * panel_bytes, k);
#pragma GCC unroll 4
            for (int r = 0; r < pass.rows; r++) {
                int32_t both;
                memcpy(&both, units + r * stride + k, sizeof both);
                __m512i products = _mm512_madd_epi16(quants, _mm512_set1_epi32(both));
                sums[p][r] = _mm512_add_epi32(sums[p][r], products);
            }
        }
}

/* totals[row] += d * unit * sums, and m times the block's sum of x with the last part */
INLINE void scale_sums(struct matmul_pass pass, __m512 totals[PASS_ROWS], __m512i sums[PASS_ROWS],
                       const char *block, int part, const struct matmul_input *input, int64_t at)
{
    bool is_last = part == 1 || pass.layout != MATMUL_LAYOUT_WIDE_BYTES;
    struct scales scales = load_scales(pass.layout, block);
#pragma GCC unroll 4
    for (int r = 0; r < pass.rows; r++) {
        __m512 unit = _mm512_set1_ps(input->unit[r * input->blocks + at]);
        totals[r] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r]),
                                    _mm512_mul_ps(scales.d[part], unit), totals[r]);
        if (matmul_layout_has_min(pass.layout) && is_last)
            totals[r] = _mm512_fmadd_ps(
                scales.m, _mm512_set1_ps(input->sums[r * input->blocks + at]), totals[r]);
    }
}

/* totals[panel][row] of one pass; the panels lie panel_bytes apart. */
INLINE void quantised_pass(struct matmul_pass pass, __m512 totals[PASS_PANELS][PASS_ROWS],
                           const char *block, size_t panel_bytes, const struct matmul_input *input,
                           int64_t row)
{
    const int parts = pass.layout == MATMUL_LAYOUT_WIDE_BYTES ? 2 : 1;
    const size_t eight_bytes = LANES * 8 / (matmul_layout_is_nibbles(pass.layout) ? 2 : 1);
    size_t block_bytes = panel_bytes / (size_t)input->blocks;
    const int16_t *units = input->units + row * input->stride;
    for (int64_t b = 0; b < input->blocks; b++, block += block_bytes, units += DEPTH) {
        matmul_panel_fetch(block, block_bytes, pass.panels, panel_bytes);
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            const int first = part * DEPTH / parts, end = first + DEPTH / parts;
            __m512i sums[PASS_PANELS][PASS_ROWS];
#pragma GCC unroll 8
            for (int i = 0; i < PASS_PANELS * PASS_ROWS; i++)
                sums[i / PASS_ROWS][i % PASS_ROWS] = _mm512_setzero_si512();
                /* As in matmul_decode_avx2.c: unrolled, all of x would be read ahead. */
#pragma GCC unroll 1
            for (int k = first; k < end; k += 8)
                add_eight(pass, sums, block + (size_t)(k / 8) * eight_bytes, panel_bytes, units + k,
                          input->stride);
#pragma GCC unroll 2
            for (int p = 0; p < pass.panels; p++)
                scale_sums(pass, totals[p], sums[p], block + (size_t)p * panel_bytes, part, input,
                           row * input->blocks + b);
        }
    }
}

/* ---- plain weights ---- */

INLINE void plain_pass(struct matmul_pass pass, __m512 totals[PASS_PANELS][PASS_ROWS],
                       const char *block, size_t panel_bytes, const struct matmul_input *input,
                       int64_t row)
{
    size_t block_bytes = panel_bytes / (size_t)input->blocks;
    const float *x = input->x + row * input->stride;
    for (int64_t b = 0; b < input->blocks; b++, block += block_bytes, x += DEPTH)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++) {
            __m512 sums[PASS_ROWS][CHAINS];
#pragma GCC unroll 16
            for (int i = 0; i < PASS_ROWS * CHAINS; i++)
                sums[i / CHAINS][i % CHAINS] = _mm512_setzero_ps();
#pragma GCC unroll 32
            for (int k = 0; k < DEPTH; k++) {
                __m512 weights = load_quants(pass.layout, block + (size_t)p * panel_bytes, k);
#pragma GCC unroll 4
                for (int r = 0; r < pass.rows; r++)
                    sums[r][k % CHAINS] = _mm512_fmadd_ps(
                        weights, _mm512_set1_ps(x[r * input->stride + k]), sums[r][k % CHAINS]);
            }
#pragma GCC unroll 4
            for (int r = 0; r < pass.rows; r++)
                totals[p][r] = _mm512_add_ps(totals[p][r],
                                             _mm512_add_ps(_mm512_add_ps(sums[r][0], sums[r][1]),
                                                           _mm512_add_ps(sums[r][2], sums[r][3])));
        }
}

/* ---- a pass ---- */

/* out [rows, panels, LANES] */
INLINE void run_pass(struct matmul_pass pass, float *out, const char *panel, size_t panel_bytes,
                     const struct matmul_input *input, int64_t row)
{
    __m512 totals[PASS_PANELS][PASS_ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < PASS_PANELS * PASS_ROWS; i++)
        totals[i / PASS_ROWS][i % PASS_ROWS] = _mm512_setzero_ps();
    if (matmul_layout_has_scale(pass.layout))
        quantised_pass(pass, totals, panel, panel_bytes, input, row);
    else
        plain_pass(pass, totals, panel, panel_bytes, input, row);
#pragma GCC unroll 4
    for (int r = 0; r < pass.rows; r++)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++)
            _mm512_store_ps(out + (r * pass.panels + p) * LANES, totals[p][r]);
}

MATMUL_DEFINE_PASSES(PASS_ROWS)

void matmul_decode_avx512(const struct matmul_args *args)
{
    matmul_input_walk(args, passes, PASS_ROWS);
}
