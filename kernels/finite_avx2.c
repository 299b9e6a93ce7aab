/* finite_rows with AVX2: all rows are looked at together, and one by one only if one is not
 * finite. */
#include <immintrin.h>
#include <math.h>

#include "kernels/variants.h"

enum { LANES = 8, VECTORS = 4 };

/* Exponents of all ones, that of infinities and NaNs, become the sign bit. */
static inline __m256i marked(const float *x)
{
    const __m256i magnitude =
        _mm256_and_si256(_mm256_loadu_si256((const __m256i *)x), _mm256_set1_epi32(0x7fffffff));
    return _mm256_add_epi32(magnitude, _mm256_set1_epi32(0x00800000));
}

static bool all_finite(const float *x, int64_t count)
{
    __m256i marks[VECTORS] = {0};
    int64_t i = 0;
    for (; i + VECTORS * LANES <= count; i += VECTORS * LANES)
        for (int v = 0; v < VECTORS; v++)
            marks[v] = _mm256_or_si256(marks[v], marked(x + i + v * LANES));
    const __m256i all =
        _mm256_or_si256(_mm256_or_si256(marks[0], marks[1]), _mm256_or_si256(marks[2], marks[3]));
    bool finite = _mm256_movemask_ps(_mm256_castsi256_ps(all)) == 0;
    for (; i < count; i++)
        finite &= isfinite(x[i]) != 0;
    return finite;
}

static int64_t finite_rows(const float *x, int64_t rows, int64_t width)
{
    int64_t row = 0;
    if (all_finite(x, rows * width))
        return rows;
    while (all_finite(x + row * width, width))
        row++;
    return row;
}

void finite_avx2_install(struct kernels *kernels)
{
    kernels->finite_rows = finite_rows;
}
