/* y = x W^T: activations times a weight matrix in the file's own type, re-laid at load.
 *
 * A matrix has `out` rows of `in` elements as the file stores them (row-major, quantised in blocks
 * along `in`). A variant packs it once in its own layout, in groups of MATMUL_SPLIT output rows
 * (the last one padded with zeros), and keeps the quantised type: packed bytes are about the file's
 * bytes.
 *
 *   y[r][o] = (accumulate ? y[r][o] : 0) + sum_k x[r][k] * W[o][k]
 *
 * for o in [out_first, out_end). There are two paths, picked by the phase and never by the row
 * count, each with one fixed order over k that does not depend on out_first, out_end, rows or the
 * thread:
 *
 *   prefill  rows <= limits.rows: a panel is expanded once a call, to bf16 in avx512_bf16, where x
 *            is rounded to bf16 too, in avx2 and avx512 to 16-bit integers where weights are
 *            quantised, and to float32 else
 *   decode   few rows: quantised panels are read directly, as integers in all but reference
 *
 * Where weights are integers, x becomes 16-bit integers with one power of two for each 32 elements
 * (an error of at most 2^-15 of the largest of them; none where 15 bits hold them).
 *
 * Columns outside [out_first, out_end) of y are not touched. Empty ranges and rows = 0 do nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

enum { MATMUL_SPLIT = 16 };

struct matmul_weights {
    const void *packed; /* 64-byte aligned, matmul_packed_bytes() long */
    enum dtype dtype;
    int64_t out;
    int64_t in;
};

struct matmul_args {
    float *y;         /* [rows, out], row r at y + r * y_stride */
    int64_t y_stride; /* floats */
    const float *x;   /* [rows, in], row r at x + r * x_stride */
    int64_t x_stride;
    int64_t rows;
    const struct matmul_weights *weights;
    int64_t out_first; /* a multiple of MATMUL_SPLIT */
    int64_t out_end;   /* a multiple of MATMUL_SPLIT, or `out` */
    bool accumulate;
    void *scratch;
};
