/* Owns the AVX2 prefill products of CPUs with AVX-VNNI: the same integers in one instruction, so
 * the same bits. */
#include "kernels/matmul_prefill_avx2.h"

INLINE __m256i add_products(__m256i sums, __m256i quants, __m256i units)
{
    return _mm256_dpwssd_avx_epi32(sums, quants, units);
}

PREFILL(add_products)

void matmul_prefill_avx2_vnni(const struct matmul_args *args)
{
    prefill(args);
}
