/* largest with AVX2: the maximum of all, then the first that equals it. */
#include <immintrin.h>

#include "kernels/variants.h"

enum { LANES = 8, VECTORS = 4 };

static float maximum(const float *x, int64_t count)
{
    __m256 most[VECTORS];
    float lanes[LANES];
    float all = x[0];
    int64_t i = 0;
    for (int v = 0; v < VECTORS; v++)
        most[v] = _mm256_set1_ps(x[0]);
    for (; i + VECTORS * LANES <= count; i += VECTORS * LANES)
        for (int v = 0; v < VECTORS; v++)
            most[v] = _mm256_max_ps(most[v], _mm256_loadu_ps(x + i + v * LANES));
    _mm256_storeu_ps(
        lanes, _mm256_max_ps(_mm256_max_ps(most[0], most[1]), _mm256_max_ps(most[2], most[3])));
    for (int lane = 0; lane < LANES; lane++)
        all = lanes[lane] > all ? lanes[lane] : all;
    for (; i < count; i++)
        all = x[i] > all ? x[i] : all;
    return all;
}

/* `value` is in x. */
static int64_t find(const float *x, int64_t count, float value)
{
    const __m256 sought = _mm256_set1_ps(value);
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        const int equal =
            _mm256_movemask_ps(_mm256_cmp_ps(_mm256_loadu_ps(x + i), sought, _CMP_EQ_OQ));
        if (equal)
            return i + __builtin_ctz((unsigned)equal);
    }
    while (x[i] != value)
        i++;
    return i;
}

static int64_t largest(const float *x, int64_t count)
{
    return find(x, count, maximum(x, count));
}

void largest_avx2_install(struct kernels *kernels)
{
    kernels->largest = largest;
}
