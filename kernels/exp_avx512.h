/* 2^x of 16 floats, inlined into AVX-512 kernels: exp_avx2.h's, and the same bits. */
#pragma once

#include <immintrin.h>

/* 2^x for x in [-125, 125], relative error below 6e-7; exact where x is whole. */
static inline __attribute__((always_inline)) __m512 exp2_avx512(__m512 x)
{
    const __m512 magic = _mm512_set1_ps(0x1.8p23f); /* leaves the whole part in the low bits */
    __m512 shifted = _mm512_add_ps(x, magic);
    __m512 f = _mm512_sub_ps(x, _mm512_sub_ps(shifted, magic));
    __m512 p = _mm512_set1_ps(0.00111255073f);
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.00966628268f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0555740036f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240223512f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693142831f));
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), exponent));
}
