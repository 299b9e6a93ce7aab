/* Writing results in the type that the next step reads: float32, or an operand of 16 bits. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#include "kernels/dtype.h"

static __device__ __forceinline__ void store_one(void *out, enum dtype dtype, int64_t place,
                                                 float value)
{
    if (dtype == DTYPE_F32)
        ((float *)out)[place] = value;
    else if (dtype == DTYPE_BF16)
        ((__nv_bfloat16 *)out)[place] = __float2bfloat16_rn(value);
    else
        ((__half *)out)[place] = __float2half_rn(value);
}

/* Two neighbours, the first in the low half; operands only. */
static __device__ __forceinline__ uint32_t store_packed(enum dtype dtype, float low, float high)
{
    if (dtype == DTYPE_BF16) {
        const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
        return *(const uint32_t *)&pair;
    }
    const __half2 pair = __floats2half2_rn(low, high);
    return *(const uint32_t *)&pair;
}

/* Four neighbours at a multiple of four. */
static __device__ __forceinline__ void store_four(void *out, enum dtype dtype, int64_t place,
                                                  float4 value)
{
    if (dtype == DTYPE_F32) {
        *(float4 *)((float *)out + place) = value;
        return;
    }
    *(uint2 *)((uint16_t *)out + place) =
        make_uint2(store_packed(dtype, value.x, value.y), store_packed(dtype, value.z, value.w));
}

static inline bool store_is_operand(enum dtype dtype)
{
    return dtype == DTYPE_BF16 || dtype == DTYPE_F16;
}

static inline bool store_takes(enum dtype dtype)
{
    return dtype == DTYPE_F32 || store_is_operand(dtype);
}
