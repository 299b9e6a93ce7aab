/* Cross-entropy with AVX2: float32 exponentials, summed in float64 in two vectors folded in a fixed
 * order. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/exp_avx2.h"
#include "kernels/variants.h"

enum { LANES = 8 };

static float largest(const float *x, int64_t width)
{
    float top = -INFINITY;
    int64_t i = 0;
    if (width >= LANES) {
        __m256 tops = _mm256_loadu_ps(x);
        for (i = LANES; i + LANES <= width; i += LANES)
            tops = _mm256_max_ps(_mm256_loadu_ps(x + i), tops);
        float parts[LANES];
        _mm256_storeu_ps(parts, tops);
        for (int p = 0; p < LANES; p++)
            top = parts[p] > top ? parts[p] : top;
    }
    for (; i < width; i++)
        top = x[i] > top ? x[i] : top;
    return top;
}

/* e^(x - top); a NaN of a NaN, which exp_avx2 would bring into its range. */
static inline __m256 exponential(__m256 x, __m256 top)
{
    const __m256 d = _mm256_sub_ps(x, top);
    return _mm256_or_ps(exp_avx2(d), _mm256_cmp_ps(d, d, _CMP_UNORD_Q));
}

/* x[i] becomes e^(x[i] - top); their sum. */
static double exponentials(float *x, int64_t width, float top)
{
    const __m256 tops = _mm256_set1_ps(top);
    __m256d low = _mm256_setzero_pd(), high = _mm256_setzero_pd();
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        const __m256 e = exponential(_mm256_loadu_ps(x + i), tops);
        low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm256_castps256_ps128(e)));
        high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm256_extractf128_ps(e, 1)));
        _mm256_storeu_ps(x + i, e);
    }
    double parts[4];
    _mm256_storeu_pd(parts, _mm256_add_pd(low, high));
    double sum = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    if (i == width)
        return sum;
    float tail[LANES] = {0};
    memcpy(tail, x + i, (size_t)(width - i) * sizeof(float));
    _mm256_storeu_ps(tail, exponential(_mm256_loadu_ps(tail), tops));
    memcpy(x + i, tail, (size_t)(width - i) * sizeof(float));
    for (int64_t t = 0; i + t < width; t++)
        sum += (double)tail[t];
    return sum;
}

static void scale(float *x, int64_t width, float factor)
{
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor)));
    for (; i < width; i++)
        x[i] *= factor;
}

/* The loss of one row. */
static double row_loss(float *logits, int32_t target, int64_t width, float weight)
{
    const float top = largest(logits, width);
    const double wanted = (double)logits[target];
    const double sum = exponentials(logits, width, top);
    const double p = (double)logits[target] / sum;
    scale(logits, width, (float)((double)weight / sum));
    logits[target] = (float)((p - 1) * (double)weight);
    return log(sum) + (double)top - wanted;
}

static double cross_entropy(const struct cross_entropy_args *args)
{
    double loss = 0;
    for (int64_t r = 0; r < args->rows; r++) {
        float *logits = args->logits + r * args->width;
        if (args->targets[r] >= 0)
            loss += row_loss(logits, args->targets[r], args->width, args->weight);
        else
            memset(logits, 0, (size_t)args->width * sizeof(float));
    }
    return loss;
}

void cross_entropy_avx2_install(struct kernels *kernels)
{
    kernels->cross_entropy = cross_entropy;
}
