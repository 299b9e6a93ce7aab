/* What one core can do at most, measured: the yardstick beside a kernel's rate in the same run. */
#pragma once

#include <stddef.h>

/* float32 fused multiply-adds of AVX2, in GFLOP/s; 0 where the CPU lacks it. */
double peak_avx2_gflops(void);

/* Bytes of `array` read a second, in GB/s. */
double peak_read_gbytes(const void *array, size_t bytes);

/* Monotonic clock, in seconds. */
double peak_seconds(void);

/* The calling thread's processor time, in seconds. The probes use it: a rate by it says the same on
 * a machine that others use too. */
double peak_thread_seconds(void);
