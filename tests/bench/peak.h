/* What one core can do at most, measured: the yardstick beside a kernel's rate in the same run. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* float32 fused multiply-adds of AVX2, in GFLOP/s; 0 where the CPU lacks it. */
double peak_avx2_gflops(void);

/* Products of bf16 pairs added to float32 (vdpbf16ps), in GFLOP/s; 0 where the CPU lacks them. */
double peak_avx512_bf16_gflops(void);

/* float32 fused multiply-adds of AVX-512, in GFLOP/s; 0 where the CPU lacks it. This and what
 * follows is one short burst, for medians of many. */
double peak_avx512_gflops(void);

/* Products of pairs of 16-bit integers, a product and its addition counted as two: vpmaddwd of
 * AVX2, and of AVX-512 vpdpwssd, or vpmaddwd where the CPU lacks that; 0 where it lacks both. In
 * 10^9/s. */
double peak_avx2_pairs_gops(void);
double peak_avx512_pairs_gops(void);

/* That of the instruction which does a variant's decode products, of quantised weights or plain. */
double peak_decode_gops(const char *kernels, bool quantised);

/* That of the instruction which does a variant's products: vdpbf16ps for avx512_bf16, and the
 * float32 multiply-add of AVX2 for every other. Where 512 bits take two turns, as on Zen 4, AVX-512
 * is no faster; where they do not, avx512's share of it may exceed 1. */
double peak_gflops(const char *kernels);

/* Bytes of `array` read a second, in GB/s: by loads alone, or with what follows fetched into the
 * second-level cache before, whichever is faster. */
double peak_read_gbytes(const void *array, size_t bytes);

/* Monotonic clock, in seconds. */
double peak_seconds(void);

/* The calling thread's processor time, in seconds. The probes use it: a rate by it says the same on
 * a machine that others use too. */
double peak_thread_seconds(void);
