/* The input of the decode products of matmul.h, and the walk of a call's rows and panels, for all
 * variants that have AVX2.
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

enum { MATMUL_INPUT_PANELS = 2 };

/* Outputs [out, out_end) of all rows, MATMUL_INPUT_PANELS panels of them at most. */
typedef void matmul_input_multiply(const struct matmul_args *args, const struct matmul_input *input,
                                   int64_t out);

void matmul_input_walk(const struct matmul_args *args, matmul_input_multiply *multiply);

size_t matmul_input_scratch_bytes(const struct kernels_limits *limits);
