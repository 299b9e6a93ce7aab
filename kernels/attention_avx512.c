/* Attention with AVX-512: bf16 queries and panels, float32 arithmetic. Needs AVX-512 F, BW and VL.
 *
 * As in attention_avx2.c, a vector of bf16 pairs is split into its two float32 vectors by a shift
 * and a mask, and probabilities stay float32. The tile is attention_avx512.h's.
 */
#include "kernels/attention_avx512.h"
#include "kernels/variants.h"

/* Vector v of a row of pairs, as the float32 of one half of each pair. */
INLINE __m512 widen(const uint32_t *pairs, int v, const bool odd)
{
    __m512i packed = _mm512_loadu_si512(pairs + v * LANES);
    return _mm512_castsi512_ps(odd ? _mm512_and_si512(packed, _mm512_set1_epi32((int)0xffff0000u))
                                   : _mm512_slli_epi32(packed, 16));
}

INLINE void step(__m512 sums[ATTENTION_TILE_ROWS][VECTORS], const char *a, int64_t a_stride,
                 const uint32_t *b, const int rows, const int vectors)
{
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; odd++) {
        __m512 vector[VECTORS];
        /* Read again for the odd half: the compiler would keep the pairs and spill the sums. */
        __asm__("" : "+r"(b));
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            vector[v] = widen(b, v, odd);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m512 factor = _mm512_set1_ps(((const float *)(const void *)(a + r * a_stride))[odd]);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sums[r][v] = _mm512_fmadd_ps(factor, vector[v], sums[r][v]);
        }
    }
}

INLINE void store(float *scores, const __m512 probabilities[VECTORS])
{
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
        _mm512_storeu_ps(scores + v * LANES, probabilities[v]);
}

static void copy_queries(void *out, const void *in, int64_t rows, int head_dim, float scale_log2)
{
    (void)scale_log2; /* the softmax does it */
    for (int64_t x = 0; x < rows * head_dim; x += LANES) {
        __m256i halves =
            _mm256_loadu_si256((const __m256i *)(const void *)((const uint16_t *)in + x));
        _mm512_storeu_si512((float *)out + x, _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
    }
}

ATTENTION_DEFINE_OPS(sizeof(float), false)

static void attend(const struct attention_args *args)
{
    attention_walk(args, &ops);
}

size_t attention_avx512_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_avx512_install(struct kernels *kernels)
{
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
}
