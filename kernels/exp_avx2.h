/* Exponentials of 8 floats, inlined into AVX2 kernels. No libm: its results differ between
 * machines.
 */
#pragma once

#include <immintrin.h>

/* 2^f for f in [-1/2, 1/2]: the minimax polynomial that is 1 at 0. */
static inline __m256 exp2_part_avx2(__m256 f)
{
    __m256 p = _mm256_set1_ps(0.00111255073f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.00966628268f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.0555740036f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.240223512f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.693142831f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    return p;
}

/* 2^x for x in [-125, 125], relative error below 6e-7; exact where x is whole; a NaN of a NaN whose
 * nine low bits are 0. */
static inline __m256 exp2_avx2(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(0x1.8p23f); /* leaves the whole part in the low bits */
    __m256 shifted = _mm256_add_ps(x, magic);
    __m256 f = _mm256_sub_ps(x, _mm256_sub_ps(shifted, magic));
    const __m256 p = exp2_part_avx2(f);
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
}

/* e^x, error below 2 ulp; x is brought into [-87, 88] first. */
static inline __m256 exp_avx2(__m256 x)
{
    const __m256 magic = _mm256_set1_ps(0x1.8p23f);
    x = _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-87.0f)), _mm256_set1_ps(88.0f));
    __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(0x1.715476p+0f), magic);
    __m256 whole = _mm256_sub_ps(shifted, magic);
    /* ln 2 in two parts, the first with few enough bits that its product is exact. */
    __m256 f = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0x1.62e4p-1f), x);
    f = _mm256_fnmadd_ps(whole, _mm256_set1_ps(0x1.7f7d1cp-20f), f);
    __m256 p = _mm256_set1_ps(0.00140612409f);
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.00837901141f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.0416647755f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.166663662f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(0.50000006f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(1.0f));
    __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), exponent));
}
