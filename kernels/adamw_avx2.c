/* AdamW with AVX2, every rounding as in the reference, which also does what is left of a vector: so
 * an element's result depends neither on the variant nor on its neighbours. */
#include <immintrin.h>

#include "kernels/variants.h"

enum { LANES = 8 };

static inline void adamw8(const struct adamw_args *args, const struct adamw_factors *factors,
                          int64_t i)
{
    const __m256 g =
        _mm256_mul_ps(_mm256_set1_ps(args->gradient_scale), _mm256_loadu_ps(args->gradient + i));
    const __m256 m =
        _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(args->beta1), _mm256_loadu_ps(args->moment + i)),
                      _mm256_mul_ps(_mm256_set1_ps(1 - args->beta1), g));
    const __m256 v = _mm256_add_ps(
        _mm256_mul_ps(_mm256_set1_ps(args->beta2), _mm256_loadu_ps(args->variance + i)),
        _mm256_mul_ps(_mm256_set1_ps(1 - args->beta2), _mm256_mul_ps(g, g)));
    const __m256 divisor =
        _mm256_add_ps(_mm256_mul_ps(_mm256_sqrt_ps(v), _mm256_set1_ps(factors->inverse_root)),
                      _mm256_set1_ps(args->epsilon));
    const __m256 kept =
        _mm256_mul_ps(_mm256_loadu_ps(args->weights + i), _mm256_set1_ps(factors->keep));
    const __m256 moved = _mm256_mul_ps(_mm256_set1_ps(factors->rate), _mm256_div_ps(m, divisor));
    _mm256_storeu_ps(args->moment + i, m);
    _mm256_storeu_ps(args->variance + i, v);
    _mm256_storeu_ps(args->weights + i, _mm256_sub_ps(kept, moved));
}

static void adamw(const struct adamw_args *args)
{
    const struct adamw_factors factors = adamw_factors(args);
    int64_t i = 0;
    for (; i + LANES <= args->count; i += LANES)
        adamw8(args, &factors, i);
    struct adamw_args rest = *args;
    rest.weights += i;
    rest.moment += i;
    rest.variance += i;
    rest.gradient += i;
    rest.count -= i;
    adamw_ref(&rest);
}

static double sum_of_squares(const float *x, int64_t count)
{
    __m256d sums[4] = {_mm256_setzero_pd(), _mm256_setzero_pd(), _mm256_setzero_pd(),
                       _mm256_setzero_pd()};
    int64_t i = 0;
    for (; i + 16 <= count; i += 16)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            const __m256d part = _mm256_cvtps_pd(_mm_loadu_ps(x + i + v * 4));
            sums[v] = _mm256_fmadd_pd(part, part, sums[v]);
        }
    double parts[4];
    _mm256_storeu_pd(
        parts, _mm256_add_pd(_mm256_add_pd(sums[0], sums[1]), _mm256_add_pd(sums[2], sums[3])));
    double sum = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    for (; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

void adamw_avx2_install(struct kernels *kernels)
{
    kernels->adamw = adamw;
    kernels->sum_of_squares = sum_of_squares;
}
