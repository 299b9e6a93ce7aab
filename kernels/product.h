/* C = A B of dense float32 matrices, each of them in any direction: the products of training.
 *
 *   c(i, j) = (accumulate ? c(i, j) : 0) + sum_k a(i, k) b(k, j)
 *
 * for i < rows, j < columns, k < depth, where c(i, j) lies at c[i * c_stride + j], a(i, k) at
 * a[i * a_row + k * a_column] and b(k, j) at b[k * b_row + j * b_column]. So with x [tokens, in],
 * w [out, in] and y [tokens, out]:
 *
 *   | product        | rows, columns, depth | a: row, column | b: row, column |
 *   | y = x w^T      | tokens, out, in      | x: in, 1       | w: 1, in       |
 *   | dx = dy w      | tokens, in, out      | dy: out, 1     | w: in, 1       |
 *   | dw += dy^T x   | out, in, tokens      | dy: 1, out     | x: in, 1       |
 *
 * One fixed sequence of roundings, whatever the rows, the columns, the thread and the variant: each
 * PRODUCT_DEPTH consecutive k, from 0 on, are summed from zero in ascending order by fused
 * multiply-adds in float32, and these sums are added to c in ascending order (without accumulate
 * the first one is c). So every variant gives the same bits, and so does C cut into parts by rows
 * and columns; cut by k at multiples of PRODUCT_DEPTH, too.
 *
 * `operand` is DTYPE_F32, or DTYPE_BF16: a and b are rounded to bf16 first, and sums stay float32.
 * Then avx512_bf16 adds up k in pairs, the odd one first, and takes denormals for zeros, so that
 * its bits are its own.
 *
 * rows = 0 and columns = 0 do nothing; depth = 0 makes C zeros unless it accumulates. C overlaps
 * neither A nor B. What lies between the rows of C is not touched.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"

enum {
    PRODUCT_DEPTH = 256,
    /* What a variant copies at a time: at most so many rows of A and columns of B. */
    PRODUCT_ROWS = 144,
    PRODUCT_COLUMNS = 1024,
    /* Of a thread, for any call; 64-byte aligned. */
    PRODUCT_SCRATCH_BYTES = (PRODUCT_ROWS + PRODUCT_COLUMNS) * PRODUCT_DEPTH * (int)sizeof(float),
};

struct product_args {
    float *c;
    int64_t c_stride;
    const float *a;
    int64_t a_row, a_column;
    const float *b;
    int64_t b_row, b_column;
    int64_t rows, columns, depth;
    enum dtype operand; /* DTYPE_F32 or DTYPE_BF16 */
    bool accumulate;
    void *scratch; /* PRODUCT_SCRATCH_BYTES */
};
