/* The functions of kernels/mma_cuda.cuh for g++: what the PTX manual says of each instruction. */
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

struct mma_bf16 {
    typedef __nv_bfloat16 element;
};

struct mma_f16 {
    typedef __half element;
};

static inline float mma_widened(mma_bf16, uint16_t bits)
{
    return dtype_f32_from_bf16(bits);
}

static inline float mma_widened(mma_f16, uint16_t bits)
{
    return dtype_f32_from_f16(bits);
}

static inline int mma_lane(void)
{
    return (int)(threadIdx.x % 32);
}

static inline uint32_t mma_shared(const void *shared)
{
    return (uint32_t)((const char *)shared - emulated_shared);
}

static inline void mma_copy(uint32_t to, const void *from, bool there)
{
    emulated_copy(to, from, there);
}

static inline void mma_copy_commit(void)
{
    emulated_copy_commit();
}

template <int PENDING> static inline void mma_copy_wait(void)
{
    emulated_copy_wait(PENDING);
}

/* Register m of lane l: elements 2 (l % 4) and + 1 of the row l / 4 that lane 8 m + l / 4 points
 * at. */
static inline void mma_load(uint32_t out[4], uint32_t shared)
{
    const char *all = emulated_exchange(EMULATED_LOAD, &shared, sizeof shared);
    for (int m = 0; m < 4; m++) {
        uint32_t row;
        memcpy(&row, all + (8 * m + mma_lane() / 4) * 64, sizeof row);
        memcpy(&out[m], emulated_shared + row + mma_lane() % 4 * 4, sizeof out[m]);
    }
}

/* The same of the transposed matrix: element l / 4 of rows 2 (l % 4) and + 1. */
static inline void mma_load_transposed(uint32_t out[4], uint32_t shared)
{
    const char *all = emulated_exchange(EMULATED_LOAD, &shared, sizeof shared);
    for (int m = 0; m < 4; m++) {
        out[m] = 0;
        for (int half = 0; half < 2; half++) {
            uint32_t row;
            uint16_t element;
            memcpy(&row, all + (8 * m + mma_lane() % 4 * 2 + half) * 64, sizeof row);
            memcpy(&element, emulated_shared + row + mma_lane() / 4 * 2, sizeof element);
            out[m] |= (uint32_t)element << (16 * half);
        }
    }
}

/* What a lane brings: a, then b. A [16, 16]: register r, half h: row l / 4 + 8 (r % 2), column 2 (l
 * % 4) + h + 8 (r / 2). B [16, 8]: row 2 (l % 4) + h + 8 r, column l / 4. */
template <typename OPERAND>
static inline void mma_multiply(OPERAND operand, float c[4], const uint32_t a[4],
                                const uint32_t b[2])
{
    uint32_t mine[6];
    memcpy(mine, a, 16);
    memcpy(mine + 4, b, 8);
    const char *all = emulated_exchange(EMULATED_MULTIPLY, mine, sizeof mine);
    const char *a_lanes = all + mma_lane() / 4 * 4 * 64, *b_lanes = all + mma_lane() % 4 * 8 * 64;
    float rows[2][16], columns[2][16]; /* those of this lane's four sums */
    for (int half = 0; half < 2; half++)
        for (int k = 0; k < 16; k++) {
            const int lane = k % 8 / 2 * 64, element = k % 2 * 2;
            uint16_t left, right;
            memcpy(&left, a_lanes + lane + (half + k / 8 * 2) * 4 + element, 2);
            memcpy(&right, b_lanes + half * 4 * 64 + lane + (4 + k / 8) * 4 + element, 2);
            rows[half][k] = mma_widened(operand, left);
            columns[half][k] = mma_widened(operand, right);
        }
    for (int e = 0; e < 4; e++)
        for (int k = 0; k < 16; k++)
            c[e] += rows[e / 2][k] * columns[e % 2][k];
}

static inline uint32_t mma_pack(mma_bf16, float low, float high)
{
    return dtype_bf16_from_f32(low) | (uint32_t)dtype_bf16_from_f32(high) << 16;
}

static inline uint32_t mma_pack(mma_f16, float low, float high)
{
    return dtype_f16_from_f32(low) | (uint32_t)dtype_f16_from_f32(high) << 16;
}

static inline float mma_exp2(float x)
{
    return exp2f(x);
}

static inline float mma_quad_max(float x)
{
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

static inline float mma_quad_sum(float x)
{
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}
