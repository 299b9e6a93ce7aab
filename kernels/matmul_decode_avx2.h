/* The AVX2 decode products of matmul.h over the panels of matmul_panel.h, but for the one
 * instruction in which CPUs differ: how products of pairs are added up. Needs AVX2, FMA and F16C.
 *
 * Quantised weights are multiplied as the integers they are, with x as matmul_input_avx2.h's
 * integers. Pairs of products are summed by one instruction, exactly, and scaled once a block; what
 * a minimum adds is its product with the block's sum of x. Plain weights are multiplied in float32.
 *
 * Promises the order over k: the integer sums are exact, blocks are added in ascending order; plain
 * weights in two chains, k mod 2, a block. No other row, column or cut of the output has a part in
 * it, nor has the number of rows. */
#pragma once

#include <string.h>

#include "kernels/matmul_avx2.h"
#include "kernels/matmul_input_avx2.h"

enum {
    PAIRS = DEPTH / 2,
    PASS_PANELS = MATMUL_PASS_PANELS,
    QUANTISED_ROWS = 4, /* whose sums registers hold, of one panel */
    PLAIN_ROWS = 4,     /* whose chains they hold, of half a panel */
    CHAINS = 2
};

/* sums + the 8 sums of two products of `quants` and `units`, both pairs of 16-bit integers */
typedef __m256i add_products_function(__m256i sums, __m256i quants, __m256i units);

/* ---- quantised weights ---- */

/* The same pair of units in every lane. */
INLINE __m256i load_units(const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return _mm256_set1_epi32(both);
}

/* quants [half]: the pairs j of eight elements, as the pairs of units lie, of which `eight` holds
 * the quants. */
INLINE void load_pairs(enum matmul_layout layout, __m256i quants[2], const char *eight, int j)
{
    if (matmul_layout_is_nibbles(layout)) {
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            quants[half] = _mm256_srli_epi16(load_nibbles(eight, half, 0), 4 * j);
            if (j < 3)
                quants[half] = _mm256_and_si256(quants[half], _mm256_set1_epi16(15));
        }
        return;
    }
    __m128i even = _mm_load_si128((const __m128i *)(eight + 2 * j * LANES));
    __m128i odd = _mm_load_si128((const __m128i *)(eight + (2 * j + 1) * LANES));
    quants[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd));
    quants[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd));
}

INLINE size_t eight_bytes(enum matmul_layout layout)
{
    return LANES * 8 / (matmul_layout_is_nibbles(layout) ? 2 : 1);
}

/* Parts of a block that have a scale of their own. */
INLINE int parts_of(enum matmul_layout layout)
{
    return layout == MATMUL_LAYOUT_WIDE_BYTES ? 2 : 1;
}

/* out += d * unit * sums, and m times the block's sum of x with the last part; `at`: the first
 * row's place in unit and sums */
INLINE void scale_sums(enum matmul_layout layout, struct matmul_pass pass,
                       __m256i sums[QUANTISED_ROWS][2 * PASS_PANELS], const char *block, int part,
                       int64_t at)
{
    const bool adds_min = matmul_layout_has_min(layout) && part == parts_of(layout) - 1;
    const float *unit = pass.input->unit + at, *sum = pass.input->sums + at;
#pragma GCC unroll 4
    for (int h = 0; h < 2 * pass.panels; h++) {
        const struct scales scales =
            load_scales(layout, block + (size_t)(h / 2) * pass.panel_bytes, h % 2);
#pragma GCC unroll 4
        for (int r = 0; r < pass.rows; r++) {
            float *to = pass.out + r * pass.out_stride + h * HALF;
            __m256 d = _mm256_mul_ps(scales.d[part], _mm256_broadcast_ss(unit + r));
            __m256 total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][h]), d, _mm256_load_ps(to));
            if (adds_min)
                total = _mm256_fmadd_ps(scales.m, _mm256_broadcast_ss(sum + r), total);
            _mm256_store_ps(to, total);
        }
    }
}

INLINE void quantised_pass(enum matmul_layout layout, struct matmul_pass pass,
                           add_products_function *add)
{
    const int parts = parts_of(layout), pairs = PAIRS / parts, halves = 2 * pass.panels;
    const size_t block_bytes = matmul_panel_block_bytes(layout);
    const char *block = pass.panel;
    int64_t at = pass.row;
    for (int64_t b = 0; b < pass.input->blocks; b++, at += pass.input->rows, block += block_bytes) {
        const int16_t *units = pass.input->units + at * DEPTH;
        matmul_panel_fetch(block, block_bytes, pass.panels, pass.panel_bytes);
        __asm__ volatile("" : : : "memory"); /* totals wait in memory: registers are the sums' */
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            /* Not in the condition: checked builds branch there, and the unrolling is lost. */
            const int first = part * pairs, end = first + pairs;
            __m256i sums[QUANTISED_ROWS][2 * PASS_PANELS]; /* [row][panel and half] */
#pragma GCC unroll 8
            for (int i = 0; i < pass.rows * halves; i++)
                sums[i / halves][i % halves] = _mm256_setzero_si256();
#pragma GCC unroll 16
            for (int j = first; j < end; j++) {
                const char *eight = block + (size_t)(j / 4) * eight_bytes(layout);
                __m256i quants[2 * PASS_PANELS];
#pragma GCC unroll 2
                for (int p = 0; p < pass.panels; p++)
                    load_pairs(layout, quants + 2 * p, eight + (size_t)p * pass.panel_bytes, j % 4);
#pragma GCC unroll 4
                for (int r = 0; r < pass.rows; r++) {
                    __m256i pair = load_units(units + r * DEPTH + 2 * j);
#pragma GCC unroll 4
                    for (int h = 0; h < halves; h++)
                        sums[r][h] = add(sums[r][h], quants[h], pair);
                }
            }
            scale_sums(layout, pass, sums, block, part, at);
        }
    }
}

/* ---- plain weights ---- */

/* out [rows, stride] += half of a block's weights times x [rows, DEPTH] */
INLINE void plain_half(enum matmul_layout layout, struct matmul_pass pass, const char *block,
                       const int half, const float *x, float *out)
{
    __m256 sums[PLAIN_ROWS][CHAINS];
#pragma GCC unroll 8
    for (int i = 0; i < pass.rows * CHAINS; i++)
        sums[i / CHAINS][i % CHAINS] = _mm256_setzero_ps();
#pragma GCC unroll 32
    for (int k = 0; k < DEPTH; k++) {
        __m256 weights = load_plain(layout, block, half, k);
#pragma GCC unroll 4
        for (int r = 0; r < pass.rows; r++)
            sums[r][k % CHAINS] = _mm256_fmadd_ps(weights, _mm256_broadcast_ss(x + r * DEPTH + k),
                                                  sums[r][k % CHAINS]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < pass.rows; r++) {
        float *to = out + r * pass.out_stride;
        __m256 sum = _mm256_add_ps(sums[r][0], sums[r][1]);
        _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), sum));
    }
}

INLINE void plain_pass(enum matmul_layout layout, struct matmul_pass pass)
{
    const size_t block_bytes = matmul_panel_block_bytes(layout);
    const float *x = pass.input->x + pass.row * DEPTH;
    const char *first = pass.panel;
    for (int64_t b = 0; b < pass.input->blocks; b++, x += pass.input->rows * DEPTH) {
        if (pass.rows > 1) /* a row alone keeps memory busy by itself */
            matmul_panel_fetch(first, block_bytes, pass.panels, pass.panel_bytes);
        for (int p = 0; p < pass.panels; p++) {
            const char *block = first + (size_t)p * pass.panel_bytes;
            plain_half(layout, pass, block, 0, x, pass.out + p * LANES);
            plain_half(layout, pass, block, 1, x, pass.out + p * LANES + HALF);
        }
        first += block_bytes;
    }
}

/* ---- a pass ---- */

/* Of a row count that is known when this is compiled. */
INLINE void run_rows(enum matmul_layout layout, struct matmul_pass pass, const int rows,
                     add_products_function *add)
{
    const int panels = pass.panels;
    pass.rows = rows;
    if (!matmul_layout_has_scale(layout)) {
        plain_pass(layout, pass);
    } else if (panels == PASS_PANELS && rows < QUANTISED_ROWS) {
        pass.panels = PASS_PANELS;
        quantised_pass(layout, pass, add);
    } else {
        pass.panels = 1;
        for (int p = 0; p < panels; p++, pass.out += LANES, pass.panel += pass.panel_bytes)
            quantised_pass(layout, pass, add);
    }
}

INLINE void run_pass(enum matmul_layout layout, const struct matmul_pass *pass,
                     add_products_function *add)
{
    memset(pass->out, 0, (size_t)(pass->rows * pass->out_stride) * sizeof *pass->out);
    if (pass->rows == 4)
        run_rows(layout, *pass, 4, add);
    else if (pass->rows == 2)
        run_rows(layout, *pass, 2, add);
    else
        run_rows(layout, *pass, 1, add);
}
