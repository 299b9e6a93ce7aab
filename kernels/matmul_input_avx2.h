/* The input of the decode products of matmul.h, and the walk of a call's rows and panels, for all
 * variants that have AVX2. A variant adds the arithmetic of a row and of a tile of rows.
 *
 * Plain weights are multiplied with x as it is. For quantised ones x is turned into 16-bit integers
 * with one unit for each block of 32, the smallest power of two that fits its largest element; so
 * it is off by at most 2^-15 of that element, and not at all where it has 15 bits or fewer.
 */
#pragma once

#include "kernels/kernels.h"
#include "kernels/matmul_panel.h"

enum { MATMUL_INPUT_ROWS = 16, MATMUL_PASS_PANELS = 2, MATMUL_MANY_ROWS = 9 };

/* A tile of rows. The rows of a block lie side by side, so that a panel is walked with one stream
 * of x. Pairs of units lie as their quants do: (k, k + 4) under nibbles, (k, k + 1) under bytes. */
struct matmul_input {
    float *x;       /* [blocks, rows, MATMUL_PANEL_DEPTH] */
    int16_t *units; /* [blocks, rows, MATMUL_PANEL_DEPTH], in the place of x */
    float *unit;    /* [blocks, rows]; NaN where x is not finite */
    float *sums;    /* [blocks, rows], of x */
    int64_t blocks;
    int64_t rows; /* 1..MATMUL_INPUT_ROWS */
};

/* Where the blocks of a row go: block b of it, as integers in units [b, MATMUL_PANEL_DEPTH], what
 * an integer counts in unit [b], and its sum in sums [b]; `stride` of them apart. */
struct matmul_units {
    int16_t *units;
    float *unit, *sums;
    int64_t stride;
};

/* x [blocks, MATMUL_PANEL_DEPTH]; pairs for `nibbles` or for bytes */
void matmul_input_units(struct matmul_units to, const float *x, int64_t blocks, bool nibbles);

/* What is summed in registers: rows of a tile times panels, over one reading and unpacking of the
 * weights. */
struct matmul_pass {
    float *out;         /* [rows, panels, MATMUL_SPLIT], 64-byte aligned */
    int64_t out_stride; /* floats from one row to the next */
    const char *panel;
    size_t panel_bytes; /* from one panel to the next */
    const struct matmul_input *input;
    int64_t row; /* of the input, the first of `rows` */
    int rows;    /* a power of two, or many */
    int panels;  /* 1..MATMUL_PASS_PANELS */
};

typedef void matmul_run_pass(const struct matmul_pass *pass);

/* A variant's arithmetic. A row has the same sums from passes of any size. */
struct matmul_passes {
    int plain_rows, quantised_rows; /* of the largest pass: powers of two */
    matmul_run_pass *runs[MATMUL_LAYOUT_COUNT];
    /* Of all rows of a tile from MATMUL_MANY_ROWS on; NULL: they are passes of few. */
    matmul_run_pass *many[MATMUL_LAYOUT_COUNT];
};

/* Defines a layout's run over a variant's own, inlined run_pass(layout, pass, add), for all. What
 * follows `add` is the many. */
#define MATMUL_RUN(name, layout, add)                                                              \
    static void name(const struct matmul_pass *pass)                                               \
    {                                                                                              \
        run_pass(layout, pass, add);                                                               \
    }
#define MATMUL_RUNS(add, ...)                                                                      \
    MATMUL_RUN(run_floats, MATMUL_LAYOUT_FLOATS, add)                                              \
    MATMUL_RUN(run_halves, MATMUL_LAYOUT_HALVES, add)                                              \
    MATMUL_RUN(run_pairs, MATMUL_LAYOUT_PAIRS, add)                                                \
    MATMUL_RUN(run_bytes, MATMUL_LAYOUT_BYTES, add)                                                \
    MATMUL_RUN(run_nibbles, MATMUL_LAYOUT_NIBBLES, add)                                            \
    MATMUL_RUN(run_nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN, add)                                    \
    MATMUL_RUN(run_wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES, add)                                  \
    MATMUL_RUN(run_wide_bytes, MATMUL_LAYOUT_WIDE_BYTES, add)                                      \
    static const struct matmul_passes passes = {PLAIN_ROWS,                                        \
                                                QUANTISED_ROWS,                                    \
                                                {run_floats, run_halves, run_pairs, run_bytes,     \
                                                 run_nibbles, run_nibbles_min, run_wide_nibbles,   \
                                                 run_wide_bytes},                                  \
                                                {__VA_ARGS__}};

/* A whole call. Of a tile's rows, the largest passes go first. */
void matmul_input_walk(const struct matmul_args *args, const struct matmul_passes *passes);

size_t matmul_input_scratch_bytes(const struct kernels_limits *limits);
