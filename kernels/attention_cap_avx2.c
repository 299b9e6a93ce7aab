/* Capped scores with AVX2. */
#include "kernels/attention_cap_avx2.h"

#include <immintrin.h>

#include "kernels/exp_avx2.h"

void attention_cap_avx2(float *x, int count, float in, float out)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    for (int i = 0; i < count; i += 8) {
        const __m256 y = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(-2 * in));
        const __m256 e = exp_avx2(y);
        const __m256 tanh = _mm256_div_ps(_mm256_sub_ps(one, e), _mm256_add_ps(one, e));
        const __m256 capped = _mm256_mul_ps(tanh, _mm256_set1_ps(out));
        _mm256_storeu_ps(x + i, _mm256_blendv_ps(capped, y, _mm256_cmp_ps(y, y, _CMP_UNORD_Q)));
    }
}
