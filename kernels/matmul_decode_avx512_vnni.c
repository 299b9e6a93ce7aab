/* Owns the decode products of matmul_decode_avx512.h for CPUs with AVX-512 VNNI: the same integers
 * in one instruction, so the same bits. */
#include "kernels/matmul_decode_avx512.h"
#include "kernels/variants.h"

INLINE __m512i add_products(__m512i sums, __m512i quants, __m512i units)
{
    return _mm512_dpwssd_epi32(sums, quants, units);
}

MATMUL_RUNS(add_products, NULL)

void matmul_decode_avx512_vnni(const struct matmul_args *args)
{
    matmul_input_walk(args, &passes);
}
