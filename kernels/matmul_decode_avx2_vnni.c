/* Owns the decode products of matmul_decode_avx2.h for CPUs with AVX-VNNI: the same integers in one
 * instruction, so the same bits. */
#include "kernels/matmul_decode_avx2.h"
#include "kernels/variants.h"

INLINE __m256i add_products(__m256i sums, __m256i quants, __m256i units)
{
    return _mm256_dpwssd_avx_epi32(sums, quants, units);
}

MATMUL_RUNS(add_products, NULL)

void matmul_decode_avx2_vnni(const struct matmul_args *args)
{
    matmul_input_walk(args, &passes);
}
