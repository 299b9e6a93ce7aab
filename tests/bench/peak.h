/* What one core can do at most, measured: the yardstick beside a kernel's rate in the same run. */
#pragma once

#include <stddef.h>

/* float32 fused multiply-adds of AVX2, in GFLOP/s; 0 where the CPU lacks it. */
double peak_avx2_gflops(void);

/* Bytes of `array` read a second, in GB/s. */
double peak_read_gbytes(const void *array, size_t bytes);

/* Monotonic clock, in seconds. */
double peak_seconds(void);
