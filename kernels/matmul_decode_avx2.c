/* Owns the AVX2 decode products of matmul.h over the panels of matmul_panel.h. Needs AVX2, FMA and
 * F16C.
 *
 * Quantised weights are multiplied as the integers they are, with x as matmul_input_avx2.h's
 * integers. Pairs of products are summed by one instruction, exactly, and scaled once a block; what
 * a minimum adds is its product with the block's sum of x. Plain weights are multiplied in float32.
 *
 * Promises the order over k: the integer sums are exact, blocks are added in ascending order; plain
 * weights in two chains, k mod 2, a block. No other row, column or cut of the output has a part in
 * it. */
#include <string.h>

#include "kernels/matmul_avx2.h"
#include "kernels/matmul_input_avx2.h"
#include "kernels/variants.h"

enum { CHAINS = 2, PASS_ROWS = 2 };

/* ---- quantised weights ---- */

INLINE __m256i add_products(__m256i sum, __m256i quants, const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(quants, _mm256_set1_epi32(both)));
}

/* The integer sums of a block, or of a part of it. */
typedef __m256i pass_sums[2][2][2]; /* panel, half, row */

/* sums += quants * units over 8 elements of a block, from `block`'s and units' start on; the panels
 * lie panel_bytes apart. */
INLINE void add_eight_nibbles(struct matmul_pass pass, pass_sums sums, const char *block,
                              size_t panel_bytes, const int16_t *units, int64_t stride)
{
    __m256i nibbles[2][2];
#pragma GCC unroll 4
    for (int i = 0; i < 2 * pass.panels; i++)
        nibbles[i / 2][i % 2] = load_nibbles(block + (size_t)(i / 2) * panel_bytes, i % 2, 0);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
#pragma GCC unroll 4
        for (int i = 0; i < 2 * pass.panels; i++) {
            __m256i quants = _mm256_srli_epi16(nibbles[i / 2][i % 2], 4 * j);
            if (j < 3)
                quants = _mm256_and_si256(quants, _mm256_set1_epi16(15));
#pragma GCC unroll 2
            for (int r = 0; r < pass.rows; r++)
                sums[i / 2][i % 2][r] =
                    add_products(sums[i / 2][i % 2][r], quants, units + r * stride + 2 * j);
        }
}

INLINE void add_eight_bytes(struct matmul_pass pass, pass_sums sums, const char *block,
                            size_t panel_bytes, const int16_t *units, int64_t stride)
{
#pragma GCC unroll 4
    for (int k = 0; k < 8; k += 2)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++) {
            const char *at = block + (size_t)p * panel_bytes + k * LANES;
            __m128i even = _mm_load_si128((const __m128i *)at);
            __m128i odd = _mm_load_si128((const __m128i *)(at + LANES));
            __m256i quants[2] = {_mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)),
                                 _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd))};
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++)
#pragma GCC unroll 2
                for (int r = 0; r < pass.rows; r++)
                    sums[p][half][r] =
                        add_products(sums[p][half][r], quants[half], units + r * stride + k);
        }
}

/* totals[half][row] += d * unit * sums, and m times the block's sum of x with the last part */
INLINE void scale_sums(struct matmul_pass pass, __m256 totals[2][2], __m256i sums[2][2],
                       const char *block, int part, const struct matmul_input *input, int64_t at)
{
    bool is_last = part == 1 || pass.layout != MATMUL_LAYOUT_WIDE_BYTES;
#pragma GCC unroll 2
    for (int half = 0; half < 2; half++) {
        struct scales scales = load_scales(pass.layout, block, half);
#pragma GCC unroll 2
        for (int r = 0; r < pass.rows; r++) {
            __m256 unit = _mm256_broadcast_ss(input->unit + r * input->blocks + at);
            __m256 *total = &totals[half][r];
            *total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[half][r]),
                                     _mm256_mul_ps(scales.d[part], unit), *total);
            if (matmul_layout_has_min(pass.layout) && is_last)
                *total = _mm256_fmadd_ps(
                    scales.m, _mm256_broadcast_ss(input->sums + r * input->blocks + at), *total);
        }
    }
}

/* totals[panel][half][row] of one pass; the panels lie panel_bytes apart. */
INLINE void quantised_pass(struct matmul_pass pass, __m256 totals[2][2][2], const char *block,
                           size_t panel_bytes, const struct matmul_input *input, int64_t row)
{
    const int parts = pass.layout == MATMUL_LAYOUT_WIDE_BYTES ? 2 : 1;
    const bool nibbles = matmul_layout_is_nibbles(pass.layout);
    const size_t eight_bytes = LANES * 8 / (nibbles ? 2 : 1);
    size_t block_bytes = panel_bytes / (size_t)input->blocks;
    const int16_t *units = input->units + row * input->stride;
    for (int64_t b = 0; b < input->blocks; b++, block += block_bytes, units += DEPTH) {
        matmul_panel_fetch(block, block_bytes, pass.panels, panel_bytes);
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            /* Not in the condition: checked builds branch there, and the unrolling is lost. */
            const int first = part * DEPTH / parts, end = first + DEPTH / parts;
            pass_sums sums;
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++)
                sums[i / 4][i / 2 % 2][i % 2] = _mm256_setzero_si256();
                /* Unrolled, the compiler would read all of x ahead, and run out of registers. */
#pragma GCC unroll 1
            for (int k = first; k < end; k += 8) {
                const char *at = block + (size_t)(k / 8) * eight_bytes;
                if (nibbles)
                    add_eight_nibbles(pass, sums, at, panel_bytes, units + k, input->stride);
                else
                    add_eight_bytes(pass, sums, at, panel_bytes, units + k, input->stride);
            }
#pragma GCC unroll 2
            for (int p = 0; p < pass.panels; p++)
                scale_sums(pass, totals[p], sums[p], block + (size_t)p * panel_bytes, part, input,
                           row * input->blocks + b);
        }
    }
}

/* ---- plain weights ---- */

INLINE void plain_pass(struct matmul_pass pass, __m256 totals[2][2][2], const char *block,
                       size_t panel_bytes, const struct matmul_input *input, int64_t row)
{
    size_t block_bytes = panel_bytes / (size_t)input->blocks;
    const float *x = input->x + row * input->stride;
    for (int64_t b = 0; b < input->blocks; b++, block += block_bytes, x += DEPTH)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++) {
            __m256 sums[2][2][CHAINS] = {0};
#pragma GCC unroll 32
            for (int k = 0; k < DEPTH; k++)
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++) {
                    __m256 weights =
                        load_quants(pass.layout, block + (size_t)p * panel_bytes, half, k);
#pragma GCC unroll 2
                    for (int r = 0; r < pass.rows; r++) {
                        __m256 *sum = &sums[half][r][k % CHAINS];
                        *sum = _mm256_fmadd_ps(
                            weights, _mm256_broadcast_ss(x + r * input->stride + k), *sum);
                    }
                }
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++)
                totals[p][i / 2][i % 2] =
                    _mm256_add_ps(totals[p][i / 2][i % 2],
                                  _mm256_add_ps(sums[i / 2][i % 2][0], sums[i / 2][i % 2][1]));
        }
}

/* ---- a pass ---- */

/* out [rows, panels * LANES] */
INLINE void run_pass(struct matmul_pass pass, float *out, const char *panel, size_t panel_bytes,
                     const struct matmul_input *input, int64_t row)
{
    __m256 totals[2][2][2]; /* panel, half, row */
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        totals[i / 4][i / 2 % 2][i % 2] = _mm256_setzero_ps();
    if (matmul_layout_has_scale(pass.layout))
        quantised_pass(pass, totals, panel, panel_bytes, input, row);
    else
        plain_pass(pass, totals, panel, panel_bytes, input, row);
#pragma GCC unroll 2
    for (int r = 0; r < pass.rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < 2 * pass.panels; i++)
            _mm256_store_ps(out + (r * 2 * pass.panels + i) * HALF, totals[i / 2][i % 2][r]);
}

MATMUL_DEFINE_PASSES(PASS_ROWS)

void matmul_decode_avx2(const struct matmul_args *args)
{
    matmul_input_walk(args, passes, PASS_ROWS);
}
