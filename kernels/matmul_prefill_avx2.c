/* Owns the AVX2 prefill products of CPUs without AVX-VNNI: products of pairs and their addition are
 * two instructions. */
#include "kernels/matmul_prefill_avx2.h"

INLINE __m256i add_products(__m256i sums, __m256i quants, __m256i units)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(quants, units));
}

PREFILL(add_products)

void matmul_prefill_avx2(const struct matmul_args *args)
{
    prefill(args);
}
