/* The probe of peak.h with AVX-512 BF16: twenty-four independent sums hide the latency. */
#include <immintrin.h>

#include "kernels/isa.h"
#include "tests/bench/peak.h"

double peak_avx512_bf16_gflops(void)
{
    enum { SUMS = 24, FLOPS = 64, BURST = 1000000, BURSTS = 8 };
    if (!isa_has_avx512_bf16())
        return 0;
    double best = 0;
    for (int burst = 0; burst < BURSTS; burst++) {
        __m512 sums[SUMS];
        const __m512i ones = _mm512_set1_epi32(0x3f803f80);
#pragma GCC unroll 24 /* in registers: memory's latency is not the question */
        for (int s = 0; s < SUMS; s++)
            sums[s] = _mm512_set1_ps((float)s);
        double start = peak_thread_seconds();
        for (int i = 0; i < BURST; i++)
#pragma GCC unroll 24
            for (int s = 0; s < SUMS; s++)
                __asm__ volatile("vdpbf16ps %1, %1, %0" : "+v"(sums[s]) : "v"(ones));
        double rate = (double)FLOPS * SUMS * BURST / (peak_thread_seconds() - start) * 1e-9;
        best = rate > best ? rate : best;
    }
    return best;
}
