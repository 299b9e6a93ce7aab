/* The probes of peak.h with AVX-512: twenty-four independent chains hide the latency. */
#include <immintrin.h>

#include "kernels/isa.h"
#include "tests/bench/peak.h"

enum { CHAINS = 24, BURST = 1000000 };

/* rate: of `step`, an instruction on a chain %0 and a constant %1 which counts `operations` */
#define MEASURE(rate, step, type, constant, operations)                                            \
    do {                                                                                           \
        type chains[CHAINS];                                                                       \
        _Pragma("GCC unroll 24") for (int c = 0; c < CHAINS; c++) chains[c] = constant;            \
        double start = peak_thread_seconds();                                                      \
        for (int i = 0; i < BURST; i++) {                                                          \
            _Pragma("GCC unroll 24") for (int c = 0; c < CHAINS; c++) __asm__ volatile(            \
                step : "+v"(chains[c]) : "v"(constant));                                           \
        }                                                                                          \
        double seconds = peak_thread_seconds() - start;                                            \
        rate = (double)(operations)*CHAINS * BURST / seconds * 1e-9;                               \
    } while (false)

double peak_avx512_gflops(void)
{
    double rate = 0;
    const __m512 ones = _mm512_set1_ps(1);
    if (isa_has_avx512())
        MEASURE(rate, "vfmadd213ps %1, %1, %0", __m512, ones, 32);
    return rate;
}

double peak_avx512_pairs_gops(void)
{
    double rate = 0;
    const __m512i ones = _mm512_set1_epi16(1);
    if (isa_has_avx512_vnni())
        MEASURE(rate, "vpdpwssd %1, %1, %0", __m512i, ones, 64);
    else if (isa_has_avx512())
        MEASURE(rate, "vpmaddwd %1, %0, %0", __m512i, ones, 64);
    return rate;
}
