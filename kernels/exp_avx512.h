/* 2^x of 16 floats, inlined into AVX-512 kernels. */
#pragma once

#include <immintrin.h>
#include <stdbool.h>

/* 2^x for any finite x, 0 where that is below what a float holds; exact where x is whole. Relative
 * error below 6e-7, exp_avx2.h's polynomial; where `coarse`, below 4e-6, one step shorter: that is
 * a thousandth of what rounding to bf16 does. x = n + f with whole n, |f| <= 1/2. */
static inline __attribute__((always_inline)) __m512 exp2_avx512(__m512 x, const bool coarse)
{
    __m512 n = _mm512_roundscale_ps(x, 0);
    __m512 f = _mm512_sub_ps(x, n);
    __m512 p;
    if (coarse) {
        p = _mm512_set1_ps(0.00978291221f);
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0559768826f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240207106f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693113625f));
    } else {
        p = _mm512_set1_ps(0.00111255073f);
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.00966628268f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.0555740036f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.240223512f));
        p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(0.693142831f));
    }
    p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(p, n);
}
