/* Owns the AVX-512 prefill products of CPUs with VNNI: the same integers in one instruction, so the
 * same bits. */
#include "kernels/matmul_prefill_avx512.h"

INLINE __m512i add_products(__m512i sums, __m512i quants, __m512i units)
{
    return _mm512_dpwssd_epi32(sums, quants, units);
}

PREFILL(add_products)

void matmul_prefill_avx512_vnni(const struct matmul_args *args)
{
    prefill(args);
}
