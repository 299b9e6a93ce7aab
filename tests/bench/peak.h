/* What one core can do at most, measured: the yardstick beside a kernel's rate in the same run. */
#pragma once

#include <stddef.h>

/* float32 fused multiply-adds of AVX2, in GFLOP/s; 0 where the CPU lacks it. */
double peak_avx2_gflops(void);

/* Products of bf16 pairs added to float32 (vdpbf16ps), in GFLOP/s; 0 where the CPU lacks them. */
double peak_avx512_bf16_gflops(void);

/* That of the instruction which does a variant's products: vdpbf16ps for avx512_bf16, and the
 * float32 multiply-add of AVX2 for every other. Where 512 bits take two turns, as on Zen 4, AVX-512
 * is no faster; where they do not, avx512's share of it may exceed 1. */
double peak_gflops(const char *kernels);

/* Bytes of `array` read a second, in GB/s. */
double peak_read_gbytes(const void *array, size_t bytes);

/* Monotonic clock, in seconds. */
double peak_seconds(void);

/* The calling thread's processor time, in seconds. The probes use it: a rate by it says the same on
 * a machine that others use too. */
double peak_thread_seconds(void);
