/* What nvcc gives a .cu file unasked, for g++: keywords, vector types, places, a launch. */
#pragma once

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "tests/support/emulated_cuda/cuda_runtime_api.h"
#include "tests/support/emulated_cuda/emulated_blocks.h"

#define __global__ static
#define __device__
#define __host__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __shared__ static
#define threadIdx emulated_thread
#define blockIdx emulated_block
#define blockDim emulated_block_size

/* Aligned as on the device: the compiler's aligned loads fault where a kernel's would. */
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    uint32_t x, y;
};
struct alignas(16) uint4 {
    uint32_t x, y, z, w;
};

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

static inline uint2 make_uint2(uint32_t x, uint32_t y)
{
    return {x, y};
}

struct dim3 : emulated_place {
    dim3(unsigned width, unsigned height = 1, unsigned depth = 1)
        : emulated_place{width, height, depth}
    {
    }
};

/* launch<<<grid, threads, shared_bytes, stream>>>(...), as the translated files spell it. */
template <typename KERNEL>
static void emulated_run(dim3 grid, unsigned threads, size_t shared_bytes, cudaStream_t,
                         const KERNEL &kernel)
{
    emulated_launch(
        grid, threads, shared_bytes, [](void *context) { (*(const KERNEL *)context)(); },
        (void *)&kernel);
}

enum { EMULATED_SYNC = 1, EMULATED_SHUFFLE, EMULATED_LOAD, EMULATED_MULTIPLY };

static inline void __syncthreads(void)
{
    emulated_barrier();
}

static inline void __syncwarp(void)
{
    emulated_exchange(EMULATED_SYNC, "", 0);
}

static inline float __shfl_xor_sync(uint32_t, float x, int apart)
{
    const char *all = emulated_exchange(EMULATED_SHUFFLE, &x, sizeof x);
    float theirs;
    memcpy(&theirs, all + ((threadIdx.x % 32) ^ (unsigned)apart) * 64, sizeof theirs);
    return theirs;
}

static inline uint32_t __float_as_uint(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline float __uint_as_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
