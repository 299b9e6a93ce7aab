/* Owns the decode products of matmul_decode_avx512.h for CPUs without VNNI: products of pairs and
 * their addition are two instructions. */
#include "kernels/matmul_decode_avx512.h"
#include "kernels/variants.h"

INLINE __m512i add_products(__m512i sums, __m512i quants, __m512i units)
{
    return _mm512_add_epi32(sums, _mm512_madd_epi16(quants, units));
}

MATMUL_RUNS(add_products, NULL)

void matmul_decode_avx512(const struct matmul_args *args)
{
    matmul_input_walk(args, &passes);
}
