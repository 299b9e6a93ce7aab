/* rmsnorm with AVX2. The squares are summed in float64, in two vectors folded in a fixed order. */
#include <immintrin.h>
#include <math.h>

#include "kernels/variants.h"

enum { LANES = 8 };

static double sum_of_squares(const float *x, int64_t width)
{
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        __m256d a = _mm256_cvtps_pd(_mm_loadu_ps(x + i));
        __m256d b = _mm256_cvtps_pd(_mm_loadu_ps(x + i + 4));
        low = _mm256_fmadd_pd(a, a, low);
        high = _mm256_fmadd_pd(b, b, high);
    }
    double parts[4];
    _mm256_storeu_pd(parts, _mm256_add_pd(low, high));
    double sum = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    for (; i < width; i++)
        sum += (double)x[i] * x[i];
    return sum;
}

static void rmsnorm(float *y, const float *x, const float *weight, int64_t rows, int64_t width,
                    float eps)
{
    for (int64_t r = 0; r < rows; r++, x += width, y += width) {
        double mean = sum_of_squares(x, width) / (double)width;
        float scale = (float)(1.0 / sqrt(mean + (double)eps));
        int64_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(scale));
            _mm256_storeu_ps(y + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
        }
        for (; i < width; i++)
            y[i] = x[i] * scale * weight[i];
    }
}

void rmsnorm_avx2_install(struct kernels *kernels)
{
    kernels->rmsnorm = rmsnorm;
}
