/* Clocks for benches, and the probe that a variant is measured against. */
#include "tests/bench/peak.h"

#include <string.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

double peak_seconds(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double peak_thread_seconds(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

double peak_decode_gops(const char *kernels, bool quantised)
{
    if (strncmp(kernels, "avx512", 6) == 0)
        return quantised ? peak_avx512_pairs_gops() : peak_avx512_gflops();
    return quantised && strcmp(kernels, "avx2") == 0 ? peak_avx2_pairs_gops() : peak_avx2_gflops();
}

double peak_gflops(const char *kernels)
{
    return strcmp(kernels, "avx512_bf16") == 0 ? peak_avx512_bf16_gflops() : peak_avx2_gflops();
}
