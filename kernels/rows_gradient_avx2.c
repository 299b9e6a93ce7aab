/* Gradients of the ops on rows with AVX2. What is added to over rows goes through the same
 * additions as in the reference. */
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/exp_avx2.h"
#include "kernels/variants.h"

enum { LANES = 8 };

static inline __m256d low_half(__m256 x)
{
    return _mm256_cvtps_pd(_mm256_castps256_ps128(x));
}

static inline __m256d high_half(__m256 x)
{
    return _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1));
}

static inline double total(__m256d x)
{
    double parts[4];
    _mm256_storeu_pd(parts, x);
    return (parts[0] + parts[1]) + (parts[2] + parts[3]);
}

/* Of one row: 1 / root of its mean square, and what dx takes of x. */
struct norm {
    float scale, back;
};

static struct norm norm_of(const struct rmsnorm_gradient_args *args, const float *x,
                           const float *dy)
{
    const int64_t width = args->width;
    __m256d squares = _mm256_setzero_pd(), along = _mm256_setzero_pd();
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        const __m256 in = _mm256_loadu_ps(x + i), out = _mm256_loadu_ps(dy + i);
        const __m256 weight = _mm256_loadu_ps(args->weight + i);
        const __m256d low = low_half(in), high = high_half(in);
        squares = _mm256_fmadd_pd(low, low, squares);
        squares = _mm256_fmadd_pd(high, high, squares);
        along = _mm256_fmadd_pd(_mm256_mul_pd(low_half(out), low_half(weight)), low, along);
        along = _mm256_fmadd_pd(_mm256_mul_pd(high_half(out), high_half(weight)), high, along);
    }
    double square = total(squares), sum = total(along);
    for (; i < width; i++) {
        square += (double)x[i] * (double)x[i];
        sum += (double)dy[i] * (double)args->weight[i] * (double)x[i];
    }
    const double scale = 1 / sqrt(square / (double)width + (double)args->eps);
    return (struct norm){(float)scale, (float)(scale * scale * scale * sum / (double)width)};
}

static void norm_row(const struct rmsnorm_gradient_args *args, int64_t row)
{
    const float *x = args->x + row * args->width, *dy = args->dy + row * args->width;
    float *dx = args->dx + row * args->width;
    const struct norm norm = norm_of(args, x, dy);
    const __m256 scale = _mm256_set1_ps(norm.scale), back = _mm256_set1_ps(norm.back);
    int64_t i = 0;
    for (; i + LANES <= args->width; i += LANES) {
        const __m256 in = _mm256_loadu_ps(x + i), out = _mm256_loadu_ps(dy + i);
        const __m256 weight = _mm256_loadu_ps(args->weight + i);
        __m256 d = _mm256_mul_ps(scale, _mm256_mul_ps(out, weight));
        d = _mm256_sub_ps(d, _mm256_mul_ps(back, in));
        const __m256 dweight = _mm256_mul_ps(out, _mm256_mul_ps(in, scale));
        _mm256_storeu_ps(args->dweight + i,
                         _mm256_add_ps(_mm256_loadu_ps(args->dweight + i), dweight));
        _mm256_storeu_ps(dx + i, args->accumulate ? _mm256_add_ps(_mm256_loadu_ps(dx + i), d) : d);
    }
    for (; i < args->width; i++) {
        const float in = x[i], out = dy[i];
        const float d = norm.scale * (out * args->weight[i]) - norm.back * in;
        args->dweight[i] += out * (in * norm.scale);
        dx[i] = args->accumulate ? dx[i] + d : d;
    }
}

static void rmsnorm_gradient(const struct rmsnorm_gradient_args *args)
{
    for (int64_t r = 0; r < args->rows; r++)
        norm_row(args, r);
}

static inline void swiglu8(float *dgate, float *dup, const float *out, const float *in,
                           const float *second)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 dy = _mm256_loadu_ps(out), gate = _mm256_loadu_ps(in);
    const __m256 up = _mm256_loadu_ps(second);
    const __m256 e = exp_avx2(_mm256_sub_ps(_mm256_setzero_ps(), gate));
    const __m256 t = _mm256_div_ps(one, _mm256_add_ps(one, e));
    const __m256 bend = _mm256_fmadd_ps(gate, _mm256_sub_ps(one, t), one);
    _mm256_storeu_ps(dgate, _mm256_mul_ps(_mm256_mul_ps(dy, up), _mm256_mul_ps(t, bend)));
    _mm256_storeu_ps(dup, _mm256_mul_ps(dy, _mm256_mul_ps(gate, t)));
}

/* The tail goes through the same vector code, so that an element's result does not depend on where
 * the array ends. */
static void swiglu_gradient(const struct swiglu_gradient_args *args)
{
    int64_t i = 0;
    for (; i + LANES <= args->count; i += LANES)
        swiglu8(args->dgate + i, args->dup + i, args->dy + i, args->gate + i, args->up + i);
    if (i == args->count)
        return;
    float dy[LANES] = {0}, gate[LANES] = {0}, up[LANES] = {0};
    const size_t bytes = (size_t)(args->count - i) * sizeof(float);
    memcpy(dy, args->dy + i, bytes);
    memcpy(gate, args->gate + i, bytes);
    memcpy(up, args->up + i, bytes);
    swiglu8(gate, up, dy, gate, up);
    memcpy(args->dgate + i, gate, bytes);
    memcpy(args->dup + i, up, bytes);
}

static void bias_gradient(float *dbias, const float *dy, int64_t dy_stride, int64_t rows,
                          int64_t width)
{
    int64_t i = 0;
    for (; i + LANES <= width; i += LANES) {
        __m256 sum = _mm256_loadu_ps(dbias + i);
        for (int64_t r = 0; r < rows; r++)
            sum = _mm256_add_ps(sum, _mm256_loadu_ps(dy + r * dy_stride + i));
        _mm256_storeu_ps(dbias + i, sum);
    }
    for (; i < width; i++)
        for (int64_t r = 0; r < rows; r++)
            dbias[i] += dy[r * dy_stride + i];
}

static void add(float *sum, const float *x, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        _mm256_storeu_ps(sum + i, _mm256_add_ps(_mm256_loadu_ps(sum + i), _mm256_loadu_ps(x + i)));
    for (; i < count; i++)
        sum[i] += x[i];
}

void rows_gradient_avx2_install(struct kernels *kernels)
{
    kernels->rmsnorm_gradient = rmsnorm_gradient;
    kernels->swiglu_gradient = swiglu_gradient;
    kernels->bias_gradient = bias_gradient;
    kernels->add = add;
}
