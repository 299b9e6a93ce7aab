/* The plainest way to make quantised rows for tests. */
#pragma once

#include <stdint.h>

#include "kernels/dtype.h"

/* in [elements] float32 -> a row of F32, F16, BF16, Q8_0, Q4_0 or Q4_1; `elements` fills whole
 * blocks. */
void quantize_row(void *row, const float *in, enum dtype dtype, int64_t elements);
