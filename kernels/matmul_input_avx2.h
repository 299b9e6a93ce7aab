/* The input of the decode products of matmul.h, and the walk of a call's rows and panels, for all
 * variants that have AVX2. A variant adds the arithmetic of one pass.
 *
 * Plain weights are multiplied with x as it is. For quantised ones x is turned into 16-bit integers
 * with one unit for each block of 32, the smallest power of two that fits its largest element; so
 * it is off by at most 2^-15 of that element, and not at all where it has 15 bits or fewer.
 */
#pragma once

#include "kernels/kernels.h"
#include "kernels/matmul_panel.h"

/* Pairs of units lie as their quants do: (k, k + 4) under nibbles, (k, k + 1) under bytes. */
struct matmul_input {
    float *x;       /* [rows, stride] */
    int16_t *units; /* [rows, stride], in the place of x */
    float *unit;    /* [rows, blocks]; NaN where x is not finite */
    float *sums;    /* [rows, blocks], of x */
    int64_t stride;
    int64_t blocks;
};

enum { MATMUL_PASS_PANELS = 2 };

/* What one pass sums in registers: rows of x times panels of outputs. */
struct matmul_pass {
    enum matmul_layout layout;
    int rows, panels; /* 1 and MATMUL_PASS_PANELS, or the variant's rows and 1, or 1 and 1 */
};

/* out [rows, panels * MATMUL_SPLIT], 64-byte aligned, from input row `row` on; the panels lie
 * panel_bytes apart. */
typedef void matmul_run_pass(float *out, const char *panel, size_t panel_bytes,
                             const struct matmul_input *input, int64_t row);

/* A layout's passes. */
struct matmul_passes {
    matmul_run_pass *one, *panels, *rows;
};

/* Defines `passes` [MATMUL_LAYOUT_COUNT] over a variant's own, inlined
 * run_pass(struct matmul_pass, out, panel, panel_bytes, input, row). */
#define MATMUL_PASS(name, layout, row_count, panel_count)                                          \
    static void name(float *out, const char *panel, size_t panel_bytes,                            \
                     const struct matmul_input *input, int64_t row)                                \
    {                                                                                              \
        run_pass((struct matmul_pass){layout, row_count, panel_count}, out, panel, panel_bytes,    \
                 input, row);                                                                      \
    }
#define MATMUL_LAYOUT_PASSES(name, layout, row_count)                                              \
    MATMUL_PASS(name##_one, layout, 1, 1)                                                          \
    MATMUL_PASS(name##_panels, layout, 1, MATMUL_PASS_PANELS)                                      \
    MATMUL_PASS(name##_rows, layout, row_count, 1)
#define MATMUL_DEFINE_PASSES(row_count)                                                            \
    MATMUL_LAYOUT_PASSES(floats, MATMUL_LAYOUT_FLOATS, row_count)                                  \
    MATMUL_LAYOUT_PASSES(halves, MATMUL_LAYOUT_HALVES, row_count)                                  \
    MATMUL_LAYOUT_PASSES(pairs, MATMUL_LAYOUT_PAIRS, row_count)                                    \
    MATMUL_LAYOUT_PASSES(bytes, MATMUL_LAYOUT_BYTES, row_count)                                    \
    MATMUL_LAYOUT_PASSES(nibbles, MATMUL_LAYOUT_NIBBLES, row_count)                                \
    MATMUL_LAYOUT_PASSES(nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN, row_count)                        \
    MATMUL_LAYOUT_PASSES(wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES, row_count)                      \
    MATMUL_LAYOUT_PASSES(wide_bytes, MATMUL_LAYOUT_WIDE_BYTES, row_count)                          \
    static const struct matmul_passes passes[MATMUL_LAYOUT_COUNT] = {                              \
        {floats_one, floats_panels, floats_rows},                                                  \
        {halves_one, halves_panels, halves_rows},                                                  \
        {pairs_one, pairs_panels, pairs_rows},                                                     \
        {bytes_one, bytes_panels, bytes_rows},                                                     \
        {nibbles_one, nibbles_panels, nibbles_rows},                                               \
        {nibbles_min_one, nibbles_min_panels, nibbles_min_rows},                                   \
        {wide_nibbles_one, wide_nibbles_panels, wide_nibbles_rows},                                \
        {wide_bytes_one, wide_bytes_panels, wide_bytes_rows},                                      \
    };

/* A whole call. Rows go pass_rows together, which share a panel; the rest go one by one and take
 * MATMUL_PASS_PANELS at once, to have as many sums in flight. */
void matmul_input_walk(const struct matmul_args *args, const struct matmul_passes *passes,
                       int pass_rows);

size_t matmul_input_scratch_bytes(const struct kernels_limits *limits);
