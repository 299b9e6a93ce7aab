/* The AVX-512 decode products of matmul.h over the panels of matmul_panel.h, but for the one
 * instruction in which CPUs differ: how products of pairs are added up. Needs AVX-512 F, BW and VL.
 *
 * As in matmul_decode_avx2.h, quantised weights are multiplied as the integers they are, with x as
 * matmul_input_avx2.h's integers; a register holds all outputs of a panel. Plain weights are
 * multiplied in float32.
 *
 * Promises the order over k: the integer sums are exact, blocks are added in ascending order; plain
 * weights in four chains, k mod 4, a block. No other row, column or cut of the output has a part in
 * it, nor has the number of rows. */
#pragma once

#include <string.h>

#include "kernels/matmul_avx512.h"
#include "kernels/matmul_input_avx2.h"

enum {
    PAIRS = DEPTH / 2,
    PASS_PANELS = MATMUL_PASS_PANELS,
    QUANTISED_ROWS = 8, /* whose sums registers hold, of PASS_PANELS */
    PLAIN_ROWS = 4,     /* whose chains they hold, of one panel */
    CHAINS = 4
};

/* sums + the 16 sums of two products of `quants` and `units`, both pairs of 16-bit integers */
typedef __m512i add_products_function(__m512i sums, __m512i quants, __m512i units);

/* ---- quantised weights ---- */

/* Pairs of quants, as the pairs of units lie: from element k of a block's eight on. */
INLINE __m512i load_pairs(enum matmul_layout layout, const char *eight, int k)
{
    if (matmul_layout_is_nibbles(layout)) {
        __m512i pairs = _mm512_srli_epi16(_mm512_loadu_si512(eight), 2 * k);
        return k == 6 ? pairs : _mm512_and_si512(pairs, _mm512_set1_epi16(15));
    }
    /* Word i of the first half beside word i of the second. */
    static const _Alignas(64)
        uint16_t zipped[2 * LANES] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                      8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m256i *at = (const __m256i *)(eight + k * LANES);
    return _mm512_permutexvar_epi16(_mm512_load_si512(zipped),
                                    _mm512_cvtepi8_epi16(_mm256_load_si256(at)));
}

INLINE size_t eight_bytes(enum matmul_layout layout)
{
    return LANES * 8 / (matmul_layout_is_nibbles(layout) ? 2 : 1);
}

/* The same pair of units in every lane. */
INLINE __m512i load_units(const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return _mm512_set1_epi32(both);
}

/* Parts of a block that have a scale of their own. */
INLINE int parts_of(enum matmul_layout layout)
{
    return layout == MATMUL_LAYOUT_WIDE_BYTES ? 2 : 1;
}

/* out += d * unit * sums, and m times the block's sum of x with the last part; `at`: the first
 * row's place in unit and sums */
INLINE void scale_sums(enum matmul_layout layout, struct matmul_pass pass,
                       __m512i sums[QUANTISED_ROWS][PASS_PANELS], const char *block, int part,
                       int64_t at)
{
    const bool adds_min = matmul_layout_has_min(layout) && part == parts_of(layout) - 1;
    const float *unit = pass.input->unit + at, *sum = pass.input->sums + at;
#pragma GCC unroll 2
    for (int p = 0; p < pass.panels; p++) {
        const struct scales scales = load_scales(layout, block + (size_t)p * pass.panel_bytes);
#pragma GCC unroll 8
        for (int r = 0; r < pass.rows; r++) {
            float *to = pass.out + r * pass.out_stride + p * LANES;
            __m512 d = _mm512_mul_ps(scales.d[part], _mm512_set1_ps(unit[r]));
            __m512 total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][p]), d, _mm512_loadu_ps(to));
            if (adds_min)
                total = _mm512_fmadd_ps(scales.m, _mm512_set1_ps(sum[r]), total);
            _mm512_store_ps(to, total);
        }
    }
}

INLINE void quantised_pass(enum matmul_layout layout, struct matmul_pass pass,
                           add_products_function *add)
{
    const int parts = parts_of(layout), pairs = PAIRS / parts;
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
            __m512i sums[QUANTISED_ROWS][PASS_PANELS];
#pragma GCC unroll 16
            for (int i = 0; i < pass.rows * pass.panels; i++)
                sums[i / pass.panels][i % pass.panels] = _mm512_setzero_si512();
#pragma GCC unroll 16
            for (int j = first; j < end; j++) {
                const char *eight = block + (size_t)(j / 4) * eight_bytes(layout);
                __m512i quants[PASS_PANELS];
#pragma GCC unroll 2
                for (int p = 0; p < pass.panels; p++)
                    quants[p] = load_pairs(layout, eight + (size_t)p * pass.panel_bytes, j % 4 * 2);
#pragma GCC unroll 8
                for (int r = 0; r < pass.rows; r++) {
                    __m512i pair = load_units(units + r * DEPTH + 2 * j);
#pragma GCC unroll 2
                    for (int p = 0; p < pass.panels; p++)
                        sums[r][p] = add(sums[r][p], quants[p], pair);
                }
            }
            scale_sums(layout, pass, sums, block, part, at);
        }
    }
}

/* ---- plain weights ---- */

/* out [rows, stride] += a block of weights times x [rows, DEPTH] */
INLINE void plain_block(enum matmul_layout layout, const int rows, float *out, int64_t stride,
                        const char *block, const float *x)
{
    __m512 sums[PLAIN_ROWS][CHAINS];
#pragma GCC unroll 16
    for (int i = 0; i < rows * CHAINS; i++)
        sums[i / CHAINS][i % CHAINS] = _mm512_setzero_ps();
#pragma GCC unroll 32
    for (int k = 0; k < DEPTH; k++) {
        __m512 weights = load_quants(layout, block, k);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++)
            sums[r][k % CHAINS] =
                _mm512_fmadd_ps(weights, _mm512_set1_ps(x[r * DEPTH + k]), sums[r][k % CHAINS]);
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; r++) {
        __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[r][0], sums[r][1]),
                                   _mm512_add_ps(sums[r][2], sums[r][3]));
        float *to = out + r * stride;
        _mm512_store_ps(to, _mm512_add_ps(_mm512_loadu_ps(to), sum));
    }
}

INLINE void plain_pass(enum matmul_layout layout, struct matmul_pass pass)
{
    const size_t block_bytes = matmul_panel_block_bytes(layout);
    const float *x = pass.input->x + pass.row * DEPTH;
    const char *block = pass.panel;
    for (int64_t b = 0; b < pass.input->blocks; b++, x += pass.input->rows * DEPTH) {
        if (pass.rows > 1) /* a row alone keeps memory busy by itself */
            matmul_panel_fetch(block, block_bytes, pass.panels, pass.panel_bytes);
        for (int p = 0; p < pass.panels; p++)
            plain_block(layout, pass.rows, pass.out + p * LANES, pass.out_stride,
                        block + (size_t)p * pass.panel_bytes, x);
        block += block_bytes;
    }
}

/* ---- a pass ---- */

/* Of a row count that is known when this is compiled. */
INLINE void run_rows(enum matmul_layout layout, struct matmul_pass pass, const int rows,
                     add_products_function *add)
{
    const bool is_pair = pass.panels == PASS_PANELS;
    pass.rows = rows;
    if (!matmul_layout_has_scale(layout)) {
        plain_pass(layout, pass);
    } else if (is_pair) {
        pass.panels = PASS_PANELS;
        quantised_pass(layout, pass, add);
    } else {
        pass.panels = 1;
        quantised_pass(layout, pass, add);
    }
}

INLINE void run_pass(enum matmul_layout layout, const struct matmul_pass *pass,
                     add_products_function *add)
{
    memset(pass->out, 0, (size_t)(pass->rows * pass->out_stride) * sizeof *pass->out);
    if (pass->rows == 8 && matmul_layout_has_scale(layout))
        run_rows(layout, *pass, 8, add);
    else if (pass->rows == 4)
        run_rows(layout, *pass, 4, add);
    else if (pass->rows == 2)
        run_rows(layout, *pass, 2, add);
    else
        run_rows(layout, *pass, 1, add);
}
