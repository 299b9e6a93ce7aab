/* Attention with AVX-512 and BF16: bf16 queries, panels and probabilities, float32 sums.
 *
 * A pair of keys, or of dimensions, is multiplied by one instruction. Probabilities are rounded to
 * bf16 for the second product only; a row's sum is taken before. The tile is attention_avx512.h's.
 */
#include "kernels/attention_avx512.h"
#include "kernels/variants.h"

INLINE void step(__m512 sums[ATTENTION_TILE_ROWS][VECTORS], const char *a, int64_t a_stride,
                 const uint32_t *b, const int rows, const int vectors)
{
    __m512bh vector[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++)
        vector[v] = (__m512bh)_mm512_loadu_si512(b + v * LANES);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        int pair;
        memcpy(&pair, a + r * a_stride, sizeof pair);
        __m512bh factor = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] = _mm512_dpbf16_ps(sums[r][v], factor, vector[v]);
    }
}

/* In place: a row's first half is written after it is read. */
INLINE void store(float *scores, const __m512 probabilities[VECTORS])
{
#pragma GCC unroll 2
    for (int v = 0; v < VECTORS; v += 2) {
        __m512bh narrow = _mm512_cvtne2ps_pbh(probabilities[v + 1], probabilities[v]);
        _mm512_storeu_si512((uint16_t *)scores + v * LANES, (__m512i)narrow);
    }
}

static void copy_queries(void *out, const void *in, int64_t rows, int head_dim, float scale_log2)
{
    (void)scale_log2; /* scaling them would round them once more: the softmax does it */
    memcpy(out, in, (size_t)(rows * head_dim) * sizeof(uint16_t));
}

ATTENTION_DEFINE_OPS(sizeof(uint16_t), true)

static void attend(const struct attention_args *args)
{
    attention_walk(args, &ops);
}

size_t attention_avx512_bf16_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_avx512_bf16_install(struct kernels *kernels)
{
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
}
