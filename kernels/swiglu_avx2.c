/* swiglu and geglu with AVX2. The tail goes through the same vector code, so that an element's
 * result does not depend on where the array ends. */
#include <immintrin.h>
#include <string.h>

#include "kernels/exp_avx2.h"
#include "kernels/variants.h"

enum { LANES = 8 };

static inline __m256 swiglu8(__m256 gate, __m256 up)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    __m256 e = exp_avx2(_mm256_sub_ps(_mm256_setzero_ps(), gate));
    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, e)), up);
}

/* g / 2 * (1 + tanh(t)) is g / (1 + e^-2t). */
static inline __m256 geglu8(__m256 gate, __m256 up)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 square = _mm256_mul_ps(gate, gate);
    const __m256 cubic =
        _mm256_fmadd_ps(_mm256_mul_ps(gate, square), _mm256_set1_ps(0.044715f), gate);
    const __m256 e = exp_avx2(_mm256_mul_ps(cubic, _mm256_set1_ps(-1.59576912f)));
    return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(one, e)), up);
}

static inline __attribute__((always_inline)) void
activate(float *gate, const float *up, int64_t count, __m256 (*eight)(__m256, __m256))
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES)
        _mm256_storeu_ps(gate + i, eight(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
    if (i == count)
        return;
    float gates[LANES] = {0}, ups[LANES] = {0};
    size_t bytes = (size_t)(count - i) * sizeof(float);
    memcpy(gates, gate + i, bytes);
    memcpy(ups, up + i, bytes);
    _mm256_storeu_ps(gates, eight(_mm256_loadu_ps(gates), _mm256_loadu_ps(ups)));
    memcpy(gate + i, gates, bytes);
}

static void swiglu(float *gate, const float *up, int64_t count)
{
    activate(gate, up, count, swiglu8);
}

static void geglu(float *gate, const float *up, int64_t count)
{
    activate(gate, up, count, geglu8);
}

void swiglu_avx2_install(struct kernels *kernels)
{
    kernels->swiglu = swiglu;
    kernels->geglu = geglu;
}
