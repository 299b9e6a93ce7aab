/* The plainest way to make quantised rows for tests. */
#pragma once

#include <stdint.h>

#include "kernels/dtype.h"

/* in [elements] float32 -> a row of any format; `elements` fills whole blocks. */
void quantize_row(void *row, const float *in, enum dtype dtype, int64_t elements);
