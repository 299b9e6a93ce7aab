/* The probes of peak.h in AVX2: twelve independent sums hide the latency of the multiply-add. */
#include <immintrin.h>
#include <stdint.h>

#include "kernels/isa.h"
#include "tests/bench/peak.h"

double peak_avx2_gflops(void)
{
    enum { SUMS = 12, LANES = 8, BURST = 2000000, BURSTS = 8 };
    if (!isa_has_avx2())
        return 0;
    double best = 0;
    for (int burst = 0; burst < BURSTS; burst++) {
        __m256 sums[SUMS];
        const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
#pragma GCC unroll 12 /* or the array lives in memory, and its latency is what is measured */
        for (int s = 0; s < SUMS; s++)
            sums[s] = _mm256_set1_ps((float)s);
        double start = peak_thread_seconds();
        for (int i = 0; i < BURST; i++)
#pragma GCC unroll 12
            for (int s = 0; s < SUMS; s++)
                __asm__ volatile("vfmadd213ps %2, %1, %0" : "+x"(sums[s]) : "x"(a), "x"(b));
        double rate = 2.0 * LANES * SUMS * BURST / (peak_thread_seconds() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}

double peak_avx2_pairs_gops(void)
{
    enum { CHAINS = 12, OPERATIONS = 32, BURST = 2000000 };
    if (!isa_has_avx2())
        return 0;
    __m256i chains[CHAINS];
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 12
    for (int c = 0; c < CHAINS; c++)
        chains[c] = ones;
    double start = peak_thread_seconds();
    for (int i = 0; i < BURST; i++)
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            __asm__ volatile("vpmaddwd %1, %0, %0" : "+x"(chains[c]) : "x"(ones));
    return (double)OPERATIONS * CHAINS * BURST / (peak_thread_seconds() - start) * 1e-9;
}

static double read_gbytes(const char *at, size_t bytes, size_t ahead)
{
    enum { SECOND_LEVEL = 2, LINE = 64 };
    __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    double start = peak_thread_seconds();
    for (size_t i = 0; i + LINE <= bytes; i += LINE) {
        if (ahead > 0)
            __builtin_prefetch(at + i + ahead, 0, SECOND_LEVEL);
        sums[0] = _mm256_or_si256(sums[0], _mm256_loadu_si256((const __m256i *)(at + i)));
        sums[1] = _mm256_or_si256(sums[1], _mm256_loadu_si256((const __m256i *)(at + i) + 1));
    }
    double seconds = peak_thread_seconds() - start;
    for (size_t s = 0; s < 2; s++)
        __asm__ volatile("" : : "x"(sums[s]));
    return (double)bytes / seconds * 1e-9;
}

double peak_read_gbytes(const void *array, size_t bytes)
{
    enum { AHEAD = 8192 };
    double loads = read_gbytes(array, bytes, 0);
    double fetched = read_gbytes(array, bytes, AHEAD);
    return loads > fetched ? loads : fetched;
}
