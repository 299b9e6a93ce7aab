/* Rounds float32 rows to the number formats of weights that are written. The quantised ones come
 * out as the public `gguf` package's, byte for byte, for numbers that are finite.
 *
 * Of 32 elements x, in float32, every operation rounded for itself; d and m are kept as f16, and q
 * is made of them before that rounding; 1/d is 0 where d is 0:
 *
 *   Q8_0   d = max |x| / 127           q = x (1/d), halves away from 0
 *   Q4_0   d = e / -8                  q = trunc(x (1/d) + 8.5), at most 15
 *   Q5_0   d = e / -16                 q = trunc(x (1/d) + 16.5), at most 31
 *   Q4_1   m = min x, d = (max x - m) / 15    q = trunc((x - m) (1/d) + 0.5), at most 15
 *   Q5_1   m = min x, d = (max x - m) / 31    q = trunc((x - m) (1/d) + 0.5), at most 31
 *
 * e is the first x of the largest magnitude.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/dtype.h"

/* F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 are. */
bool dtype_encode_knows(enum dtype dtype);

/* The largest magnitude that a row of the format may have, so that none of its numbers or scales
 * becomes infinite; infinity for F32. */
float dtype_encode_most(enum dtype dtype);

/* row: `elements` numbers of a format that is known, in whole blocks. in [elements]. */
void dtype_encode_row(void *row, const float *in, enum dtype dtype, int64_t elements);
