/* Owns the AVX-512 prefill products of CPUs without VNNI: products of pairs and their addition are
 * two instructions. */
#include "kernels/matmul_prefill_avx512.h"

INLINE __m512i add_products(__m512i sums, __m512i quants, __m512i units)
{
    return _mm512_add_epi32(sums, _mm512_madd_epi16(quants, units));
}

PREFILL(add_products)

void matmul_prefill_avx512(const struct matmul_args *args)
{
    prefill(args);
}
