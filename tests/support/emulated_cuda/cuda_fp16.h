/* float16 for g++, as far as the kernels use it. */
#pragma once

#include "kernels/dtype.h"

struct __half {
    uint16_t bits;
};

struct __half2 {
    __half x, y;
};

static inline __half __float2half_rn(float x)
{
    return {dtype_f16_from_f32(x)};
}

static inline __half2 __floats2half2_rn(float low, float high)
{
    return {__float2half_rn(low), __float2half_rn(high)};
}

static inline __half __ushort_as_half(uint16_t bits)
{
    return {bits};
}

static inline float __half2float(__half x)
{
    return dtype_f32_from_f16(x.bits);
}
