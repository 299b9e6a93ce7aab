/* AVX-512 in plain C, for machines without it: found in place of the compiler's <immintrin.h> by
 * what is built with -I tests/support/emulated, and renames just those instructions that the
 * kernels use, lane by lane. Narrower instructions stay the machine's own (AVX2, FMA, F16C).
 *
 * Roundings are those of Intel's manual: vdpbf16ps adds the odd product and then the even one, each
 * fused, to nearest even, and takes denormals for zeros on the way in and out; vcvtneps2bf16 takes
 * denormals for zeros and rounds to nearest even.
 */
#pragma once

#include_next <immintrin.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels/dtype.h"

/* What is longer than a few instructions is a call: unrolled kernels would take minutes to
 * compile. */
#define EMULATED static inline __attribute__((always_inline, unused))
#define EMULATED_CALL static __attribute__((noinline, unused))
#define EMULATED_LANES for (int lane = 0; lane < 16; lane++)

typedef float emulated_f32x16 __attribute__((vector_size(64)));
typedef uint32_t emulated_u32x16 __attribute__((vector_size(64)));
typedef uint16_t emulated_u16x32 __attribute__((vector_size(64)));

EMULATED float emulated_flush(float value)
{
    return fpclassify(value) == FP_SUBNORMAL ? copysignf(0, value) : value;
}

EMULATED __m512 emulated_load(const void *at)
{
    __m512 out;
    memcpy(&out, at, sizeof out);
    return out;
}

EMULATED __m512i emulated_load_integers(const void *at)
{
    __m512i out;
    memcpy(&out, at, sizeof out);
    return out;
}

EMULATED void emulated_store(void *at, __m512 a)
{
    memcpy(at, &a, sizeof a);
}

EMULATED void emulated_store_integers(void *at, __m512i a)
{
    memcpy(at, &a, sizeof a);
}

EMULATED_CALL __m512 emulated_load_some(__mmask16 mask, const float *at)
{
    emulated_f32x16 out = {0};
    EMULATED_LANES if (mask >> lane & 1) out[lane] = at[lane];
    return (__m512)out;
}

EMULATED_CALL void emulated_store_some(float *at, __mmask16 mask, __m512 a)
{
    EMULATED_LANES if (mask >> lane & 1) at[lane] = ((emulated_f32x16)a)[lane];
}

EMULATED __m512 emulated_splat(float value)
{
    emulated_f32x16 out;
    EMULATED_LANES out[lane] = value;
    return (__m512)out;
}

EMULATED __m512i emulated_splat_integer(int value)
{
    emulated_u32x16 out;
    EMULATED_LANES out[lane] = (uint32_t)value;
    return (__m512i)out;
}

EMULATED_CALL __m512 emulated_fmadd(__m512 a, __m512 b, __m512 c)
{
    emulated_f32x16 out;
    EMULATED_LANES out[lane] =
        fmaf(((emulated_f32x16)a)[lane], ((emulated_f32x16)b)[lane], ((emulated_f32x16)c)[lane]);
    return (__m512)out;
}

EMULATED_CALL __m512 emulated_dpbf16(__m512 sum, __m512bh a, __m512bh b)
{
    emulated_f32x16 out = (emulated_f32x16)sum;
    emulated_u32x16 x = (emulated_u32x16)a, y = (emulated_u32x16)b;
    EMULATED_LANES
    {
        float x_odd = emulated_flush(dtype_f32_from_bits(x[lane] & 0xffff0000u));
        float y_odd = emulated_flush(dtype_f32_from_bits(y[lane] & 0xffff0000u));
        float x_even = emulated_flush(dtype_f32_from_bits(x[lane] << 16));
        float y_even = emulated_flush(dtype_f32_from_bits(y[lane] << 16));
        float odd = emulated_flush(fmaf(x_odd, y_odd, emulated_flush(out[lane])));
        out[lane] = emulated_flush(fmaf(x_even, y_even, odd));
    }
    return (__m512)out;
}

EMULATED_CALL __m256bh emulated_to_bf16(__m512 a)
{
    uint16_t out[16];
    __m256bh packed;
    EMULATED_LANES out[lane] = dtype_bf16_from_f32(emulated_flush(((emulated_f32x16)a)[lane]));
    memcpy(&packed, out, sizeof packed);
    return packed;
}

EMULATED __m512bh emulated_two_to_bf16(__m512 high, __m512 low)
{
    __m256bh halves[2] = {emulated_to_bf16(low), emulated_to_bf16(high)};
    __m512bh packed;
    memcpy(&packed, halves, sizeof packed);
    return packed;
}

EMULATED_CALL __m512 emulated_pick(__mmask16 mask, __m512 where_set, __m512 elsewhere)
{
    emulated_f32x16 out = (emulated_f32x16)elsewhere;
    EMULATED_LANES if (mask >> lane & 1) out[lane] = ((emulated_f32x16)where_set)[lane];
    return (__m512)out;
}

/* As the processor chooses: b where a is not larger. */
EMULATED_CALL __m512 emulated_max(__m512 a, __m512 b)
{
    emulated_f32x16 x = (emulated_f32x16)a, y = (emulated_f32x16)b;
    EMULATED_LANES y[lane] = x[lane] > y[lane] ? x[lane] : y[lane];
    return (__m512)y;
}

/* Of each 16 bytes, the lower or upper half of a's parts and b's, in turn; parts of 1 or 2
 * floats. */
EMULATED_CALL __m512 emulated_unpack(__m512 a, __m512 b, int upper, int floats)
{
    emulated_f32x16 x = (emulated_f32x16)a, y = (emulated_f32x16)b, out;
    EMULATED_LANES
    {
        int from = lane / 4 * 4 + upper * 2 + lane % 4 / (2 * floats) * floats + lane % floats;
        out[lane] = lane / floats % 2 ? y[from] : x[from];
    }
    return (__m512)out;
}

/* Parts of 16 bytes: two of a, two of b. */
EMULATED_CALL __m512 emulated_shuffle_parts(__m512 a, __m512 b, int which)
{
    emulated_f32x16 x = (emulated_f32x16)a, y = (emulated_f32x16)b, out;
    EMULATED_LANES
    {
        int from = (which >> (lane / 4 * 2) & 3) * 4 + lane % 4;
        out[lane] = lane < 8 ? x[from] : y[from];
    }
    return (__m512)out;
}

EMULATED __m256 emulated_lower(__m512 a)
{
    __m256 out;
    memcpy(&out, &a, sizeof out);
    return out;
}

EMULATED __m512 emulated_widened(__m256 a)
{
    __m512 out = {0};
    memcpy(&out, &a, sizeof a);
    return out;
}

EMULATED_CALL __m512 emulated_round(__m512 a)
{
    emulated_f32x16 x = (emulated_f32x16)a;
    EMULATED_LANES x[lane] = nearbyintf(x[lane]);
    return (__m512)x;
}

/* a * 2^n; beyond what an exponent reaches as far as it reaches. As the processor has it, an
 * infinite n wins over a NaN. */
EMULATED_CALL __m512 emulated_scale(__m512 a, __m512 n)
{
    emulated_f32x16 x = (emulated_f32x16)a, y = (emulated_f32x16)n;
    EMULATED_LANES
    {
        float most = fmaxf(-1000, fminf(1000, y[lane]));
        if (isnan(x[lane]) && isinf(y[lane]))
            x[lane] = y[lane] > 0 ? INFINITY : 0;
        else
            x[lane] = isnan(y[lane]) ? y[lane] : ldexpf(x[lane], (int)floorf(most));
    }
    return (__m512)x;
}

EMULATED_CALL __m512 emulated_from_f16(__m256i a)
{
    uint16_t in[16];
    emulated_f32x16 out;
    memcpy(in, &a, sizeof in);
    EMULATED_LANES out[lane] = dtype_f32_from_f16(in[lane]);
    return (__m512)out;
}

EMULATED_CALL __m512 emulated_from_integers(__m512i a)
{
    emulated_f32x16 out;
    EMULATED_LANES out[lane] = (float)(int32_t)((emulated_u32x16)a)[lane];
    return (__m512)out;
}

EMULATED_CALL __m512i emulated_widen_bytes(__m128i a)
{
    int8_t in[16];
    emulated_u32x16 out;
    memcpy(in, &a, sizeof in);
    EMULATED_LANES out[lane] = (uint32_t)(int32_t)in[lane];
    return (__m512i)out;
}

EMULATED_CALL __m512i emulated_widen_bytes_to_words(__m256i a)
{
    int8_t in[32];
    emulated_u16x32 out;
    memcpy(in, &a, sizeof in);
    for (int lane = 0; lane < 32; lane++)
        out[lane] = (uint16_t)(int16_t)in[lane];
    return (__m512i)out;
}

/* Of pairs of 16-bit integers. */
EMULATED_CALL __m512i emulated_multiply_pairs(__m512i a, __m512i b)
{
    emulated_u32x16 x = (emulated_u32x16)a, y = (emulated_u32x16)b;
    EMULATED_LANES
    {
        int32_t even = (int16_t)x[lane] * (int16_t)y[lane];
        int32_t odd = (int16_t)(x[lane] >> 16) * (int16_t)(y[lane] >> 16);
        x[lane] = (uint32_t)even + (uint32_t)odd;
    }
    return (__m512i)x;
}

EMULATED_CALL __m512i emulated_permute_words(__m512i order, __m512i a)
{
    emulated_u16x32 from = (emulated_u16x32)order, out;
    for (int lane = 0; lane < 32; lane++)
        out[lane] = ((emulated_u16x32)a)[from[lane] % 32];
    return (__m512i)out;
}

EMULATED_CALL __m512i emulated_widen_words(__m256i a)
{
    uint16_t in[16];
    emulated_u32x16 out;
    memcpy(in, &a, sizeof in);
    EMULATED_LANES out[lane] = in[lane];
    return (__m512i)out;
}

#define _mm512_setzero_ps() emulated_splat(0)
#define _mm512_set1_ps(a) emulated_splat(a)
#define _mm512_set1_epi32(a) emulated_splat_integer(a)
#define _mm512_loadu_ps(at) emulated_load(at)
#define _mm512_load_si512(at) emulated_load_integers(at)
#define _mm512_loadu_si512(at) emulated_load_integers(at)
#define _mm512_store_ps(at, a) emulated_store(at, a)
#define _mm512_storeu_ps(at, a) emulated_store(at, a)
#define _mm512_store_si512(at, a) emulated_store_integers(at, a)
#define _mm512_storeu_si512(at, a) emulated_store_integers(at, a)
#define _mm512_maskz_loadu_ps(mask, at) emulated_load_some(mask, at)
#define _mm512_mask_storeu_ps(at, mask, a) emulated_store_some(at, mask, a)
#define _mm512_add_ps(a, b) ((__m512)((emulated_f32x16)(a) + (emulated_f32x16)(b)))
#define _mm512_sub_ps(a, b) ((__m512)((emulated_f32x16)(a) - (emulated_f32x16)(b)))
#define _mm512_max_ps(a, b) emulated_max(a, b)
#define _mm512_mask_mov_ps(from, mask, a) emulated_pick(mask, a, from)
#define _mm512_maskz_mov_ps(mask, a) emulated_pick(mask, a, emulated_splat(0))
#define _mm512_unpacklo_ps(a, b) emulated_unpack(a, b, 0, 1)
#define _mm512_unpackhi_ps(a, b) emulated_unpack(a, b, 1, 1)
#define _mm512_unpacklo_pd(a, b) ((__m512d)emulated_unpack((__m512)(a), (__m512)(b), 0, 2))
#define _mm512_unpackhi_pd(a, b) ((__m512d)emulated_unpack((__m512)(a), (__m512)(b), 1, 2))
#define _mm512_shuffle_f32x4(a, b, which) emulated_shuffle_parts(a, b, which)
#define _mm512_castps_pd(a) ((__m512d)(a))
#define _mm512_castpd_ps(a) ((__m512)(a))
#define _mm512_castps512_ps256(a) emulated_lower(a)
#define _mm512_castps256_ps512(a) emulated_widened(a)
#define _mm512_roundscale_ps(a, whole) emulated_round(a)
#define _mm512_scalef_ps(a, n) emulated_scale(a, n)
#define _mm512_fmsub_ps(a, b, c) emulated_fmadd(a, b, -(c))
#define _mm512_mul_ps(a, b) ((__m512)((emulated_f32x16)(a) * (emulated_f32x16)(b)))
#define _mm512_fmadd_ps(a, b, c) emulated_fmadd(a, b, c)
#define _mm512_dpbf16_ps(sum, a, b) emulated_dpbf16(sum, a, b)
#define _mm512_cvtneps_pbh(a) emulated_to_bf16(a)
#define _mm512_cvtne2ps_pbh(high, low) emulated_two_to_bf16(high, low)
#define _mm512_cvtph_ps(a) emulated_from_f16(a)
#define _mm512_cvtepi32_ps(a) emulated_from_integers(a)
#define _mm512_cvtepi8_epi32(a) emulated_widen_bytes(a)
#define _mm512_cvtepi8_epi16(a) emulated_widen_bytes_to_words(a)
#define _mm512_cvtepu16_epi32(a) emulated_widen_words(a)
#define _mm512_and_si512(a, b) ((__m512i)((emulated_u32x16)(a) & (emulated_u32x16)(b)))
#define _mm512_add_epi32(a, b) ((__m512i)((emulated_u32x16)(a) + (emulated_u32x16)(b)))
#define _mm512_slli_epi32(a, count) ((__m512i)((emulated_u32x16)(a) << (uint32_t)(count)))
#define _mm512_srli_epi32(a, count) ((__m512i)((emulated_u32x16)(a) >> (uint32_t)(count)))
#define _mm512_setzero_si512() emulated_splat_integer(0)
#define _mm512_set1_epi16(a) ((__m512i)((emulated_u16x32){0} + (uint16_t)(a)))
#define _mm512_srli_epi16(a, count) ((__m512i)((emulated_u16x32)(a) >> (uint16_t)(count)))
#define _mm512_madd_epi16(a, b) emulated_multiply_pairs(a, b)
#define _mm512_permutexvar_epi16(order, a) emulated_permute_words(order, a)
#define _mm512_castsi512_ps(a) ((__m512)(a))
