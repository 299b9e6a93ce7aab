/* Rotation for the bf16 variants: queries are rounded to bf16 once, after the rotation, keys stay
 * float32 until they are stored. */
#include <immintrin.h>

#include "kernels/variants.h"

/* Eight pairs: head_dim is a multiple of 16, so that half of it divides by 8. */
struct rotated {
    __m256 low, high;
};

/* `back`: by the transpose. */
static inline __attribute__((always_inline)) struct rotated
rotate(const float *x, int half, const float *table, int p, const bool back)
{
    /* cos and sin alternate: gather each into one vector of 8. */
    __m256 first = _mm256_loadu_ps(table + 2 * p);
    __m256 second = _mm256_loadu_ps(table + 2 * p + 8);
    __m256 even = _mm256_shuffle_ps(first, second, _MM_SHUFFLE(2, 0, 2, 0));
    __m256 odd = _mm256_shuffle_ps(first, second, _MM_SHUFFLE(3, 1, 3, 1));
    enum { order = _MM_SHUFFLE(3, 1, 2, 0) }; /* clang wants a constant */
    __m256 cosine = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), order));
    __m256 sine = _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(odd), order));
    __m256 low = _mm256_loadu_ps(x + p);
    __m256 high = _mm256_loadu_ps(x + p + half);
    if (back)
        return (struct rotated){
            .low = _mm256_fmadd_ps(low, cosine, _mm256_mul_ps(high, sine)),
            .high = _mm256_fmsub_ps(high, cosine, _mm256_mul_ps(low, sine)),
        };
    return (struct rotated){
        .low = _mm256_fmsub_ps(low, cosine, _mm256_mul_ps(high, sine)),
        .high = _mm256_fmadd_ps(high, cosine, _mm256_mul_ps(low, sine)),
    };
}

/* To nearest, ties to even, as dtype_bf16_from_f32 does. Rounding carries some NaNs over into
 * numbers, so they are made quiet instead. */
static inline __m128i narrow(__m256 x)
{
    __m256i bits = _mm256_castps_si256(x);
    __m256i tie = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    bits = _mm256_add_epi32(bits, _mm256_add_epi32(tie, _mm256_set1_epi32(0x7fff)));
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q);
    bits = _mm256_castps_si256(
        _mm256_blendv_ps(_mm256_castsi256_ps(bits), _mm256_castsi256_ps(quiet), nan));
    bits = _mm256_srli_epi32(bits, 16);
    return _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
}

static void rope_queries(const struct rope_args *args)
{
    int half = args->head_dim / 2;
    for (int64_t t = 0; t < args->tokens; t++) {
        const float *table = args->table + t * half * 2;
        for (int h = 0; h < args->heads; h++) {
            const float *x = args->x + t * args->x_stride + (int64_t)h * args->head_dim;
            uint16_t *out =
                (uint16_t *)args->out + t * args->out_stride + (int64_t)h * args->head_dim;
            for (int p = 0; p < half; p += 8) {
                struct rotated pair = rotate(x, half, table, p, false);
                _mm_storeu_si128((__m128i *)(out + p), narrow(pair.low));
                _mm_storeu_si128((__m128i *)(out + p + half), narrow(pair.high));
            }
        }
    }
}

static void rope_keys(const struct rope_args *args)
{
    int half = args->head_dim / 2;
    for (int64_t t = 0; t < args->tokens; t++) {
        const float *table = args->table + t * half * 2;
        for (int h = 0; h < args->heads; h++) {
            const float *x = args->x + t * args->x_stride + (int64_t)h * args->head_dim;
            float *out = (float *)args->out + t * args->out_stride + (int64_t)h * args->head_dim;
            for (int p = 0; p < half; p += 8) {
                struct rotated pair = rotate(x, half, table, p, false);
                _mm256_storeu_ps(out + p, pair.low);
                _mm256_storeu_ps(out + p + half, pair.high);
            }
        }
    }
}

static void rope_gradient(const struct rope_args *args, bool accumulate)
{
    const int half = args->head_dim / 2;
    for (int64_t t = 0; t < args->tokens; t++) {
        const float *table = args->table + t * half * 2;
        for (int h = 0; h < args->heads; h++) {
            const float *x = args->x + t * args->x_stride + (int64_t)h * args->head_dim;
            float *out = (float *)args->out + t * args->out_stride + (int64_t)h * args->head_dim;
            for (int p = 0; p < half; p += 8) {
                struct rotated pair = rotate(x, half, table, p, true);
                if (accumulate) {
                    pair.low = _mm256_add_ps(_mm256_loadu_ps(out + p), pair.low);
                    pair.high = _mm256_add_ps(_mm256_loadu_ps(out + p + half), pair.high);
                }
                _mm256_storeu_ps(out + p, pair.low);
                _mm256_storeu_ps(out + p + half, pair.high);
            }
        }
    }
}

void rope_avx2_install(struct kernels *kernels)
{
    kernels->rope_queries = rope_queries;
    kernels->rope_keys = rope_keys;
    kernels->rope_gradient = rope_gradient;
}
