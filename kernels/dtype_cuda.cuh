/* Reading weights in their file's type: sixteen elements at a time, as two octets that share bytes.
 *
 * Unit u of a row is elements [first, first + 8) and [first + APART, first + APART + 8) with first
 * = dtype_cuda<D>::first(u): nibbles of the same eight bytes, or simply neighbours. Every dtype's
 * expand() gives the very values of dtype_dequantize_row(): the products below are exact in
 * float32, so that contraction changes nothing. Rows are aligned as their blocks' sizes say. */
#pragma once

#include <cuda_fp16.h>
#include <stdint.h>

#include "kernels/dtype.h"

enum { DTYPE_CUDA_UNIT = 16 };

static __device__ __forceinline__ float dtype_cuda_f16(const uint8_t *bytes)
{
    return __half2float(__ushort_as_half(*(const uint16_t *)bytes));
}

/* Eight bytes, the first in the low bits, from a place that is a multiple of 2, 4 or 8. */
template <int ALIGNMENT>
static __device__ __forceinline__ void dtype_cuda_eight(uint32_t out[2], const uint8_t *bytes)
{
    if (ALIGNMENT == 8) {
        const uint2 both = *(const uint2 *)bytes;
        out[0] = both.x;
        out[1] = both.y;
    } else if (ALIGNMENT == 4) {
        out[0] = ((const uint32_t *)bytes)[0];
        out[1] = ((const uint32_t *)bytes)[1];
    } else {
        const uint16_t *halves = (const uint16_t *)bytes;
        out[0] = halves[0] | (uint32_t)halves[1] << 16;
        out[1] = halves[2] | (uint32_t)halves[3] << 16;
    }
}

static __device__ __forceinline__ int dtype_cuda_byte(const uint32_t words[2], int i)
{
    return words[i / 4] >> (i % 4 * 8) & 255;
}

template <int DTYPE> struct dtype_cuda;

template <> struct dtype_cuda<DTYPE_F32> {
    enum { APART = 8 };
    static __device__ __forceinline__ int64_t first(int64_t unit)
    {
        return unit * DTYPE_CUDA_UNIT;
    }
    static __device__ __forceinline__ void expand(float out[2][8], const uint8_t *row, int64_t unit)
    {
        const float4 *from = (const float4 *)(row + unit * 64);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float4 x = from[i];
            float *to = &out[i / 2][i % 2 * 4];
            to[0] = x.x;
            to[1] = x.y;
            to[2] = x.z;
            to[3] = x.w;
        }
    }
};

/* Sixteen halves of 16 bits, widened by `widen`. */
template <bool BF16> struct dtype_cuda_halves {
    enum { APART = 8 };
    static __device__ __forceinline__ int64_t first(int64_t unit)
    {
        return unit * DTYPE_CUDA_UNIT;
    }
    static __device__ __forceinline__ void expand(float out[2][8], const uint8_t *row, int64_t unit)
    {
        const uint4 *from = (const uint4 *)(row + unit * 32);
#pragma unroll
        for (int octet = 0; octet < 2; octet++) {
            const uint4 x = from[octet];
            const uint32_t words[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const uint32_t half = words[i / 2] >> (i % 2 * 16) & 0xffff;
                out[octet][i] = BF16 ? __uint_as_float(half << 16)
                                     : __half2float(__ushort_as_half((uint16_t)half));
            }
        }
    }
};

template <> struct dtype_cuda<DTYPE_F16> : dtype_cuda_halves<false> {
};

template <> struct dtype_cuda<DTYPE_BF16> : dtype_cuda_halves<true> {
};

/* Blocks of 32: scale, where MINIMUM also a minimum, where FIFTH four bytes of fifth bits, sixteen
 * bytes of nibbles, low ones the first half. */
template <bool MINIMUM, bool FIFTH, int BYTES, int ALIGNMENT> struct dtype_cuda_nibbles {
    enum { APART = 16, HEAD = MINIMUM ? 4 : 2, MIDDLE = MINIMUM ? 0 : FIFTH ? 16 : 8 };
    static __device__ __forceinline__ int64_t first(int64_t unit)
    {
        return unit / 2 * 32 + unit % 2 * 8;
    }
    static __device__ __forceinline__ void expand(float out[2][8], const uint8_t *row, int64_t unit)
    {
        const uint8_t *block = row + unit / 2 * BYTES;
        const int shift = (int)(unit % 2) * 8;
        const float scale = dtype_cuda_f16(block);
        const float minimum = MINIMUM ? dtype_cuda_f16(block + 2) : 0;
        uint32_t words[2], fifth = 0;
        dtype_cuda_eight<ALIGNMENT>(words, block + HEAD + (FIFTH ? 4 : 0) + shift);
        if (FIFTH)
            fifth = *(const uint16_t *)(block + HEAD) |
                    (uint32_t) * (const uint16_t *)(block + HEAD + 2) << 16;
#pragma unroll
        for (int i = 0; i < 8; i++) {
            const int byte = dtype_cuda_byte(words, i);
            int low = byte & 15, high = byte >> 4;
            if (FIFTH) {
                low |= (fifth >> (shift + i) & 1) << 4;
                high |= (fifth >> (16 + shift + i) & 1) << 4;
            }
            out[0][i] = (float)(low - MIDDLE) * scale + minimum;
            out[1][i] = (float)(high - MIDDLE) * scale + minimum;
        }
    }
};

template <> struct dtype_cuda<DTYPE_Q4_0> : dtype_cuda_nibbles<false, false, 18, 2> {
};

template <> struct dtype_cuda<DTYPE_Q4_1> : dtype_cuda_nibbles<true, false, 20, 4> {
};

template <> struct dtype_cuda<DTYPE_Q5_0> : dtype_cuda_nibbles<false, true, 22, 2> {
};

template <> struct dtype_cuda<DTYPE_Q5_1> : dtype_cuda_nibbles<true, true, 24, 8> {
};

template <> struct dtype_cuda<DTYPE_Q8_0> {
    enum { APART = 8 };
    static __device__ __forceinline__ int64_t first(int64_t unit)
    {
        return unit * DTYPE_CUDA_UNIT;
    }
    static __device__ __forceinline__ void expand(float out[2][8], const uint8_t *row, int64_t unit)
    {
        const uint8_t *block = row + unit / 2 * 34;
        const float scale = dtype_cuda_f16(block);
#pragma unroll
        for (int octet = 0; octet < 2; octet++) {
            uint32_t words[2];
            dtype_cuda_eight<2>(words, block + 2 + unit % 2 * 16 + octet * 8);
#pragma unroll
            for (int i = 0; i < 8; i++)
                out[octet][i] = (float)(int8_t)dtype_cuda_byte(words, i) * scale;
        }
    }
};

/* Blocks of 256 in eight sub-blocks of 32 with six-bit scales and minima; FIFTH: Q5_K. */
template <bool FIFTH, int BYTES> struct dtype_cuda_sub_blocks {
    enum { APART = 32 };
    static __device__ __forceinline__ int64_t first(int64_t unit)
    {
        return unit / 16 * 256 + unit % 16 / 4 * 64 + unit % 4 * 8;
    }
    /* As dtype.c takes them out of twelve bytes. */
    static __device__ __forceinline__ void scales(int *scale, int *minimum, const uint8_t *packed,
                                                  int j)
    {
        if (j < 4) {
            *scale = packed[j] & 63;
            *minimum = packed[j + 4] & 63;
        } else {
            *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
            *minimum = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
        }
    }
    static __device__ __forceinline__ void expand(float out[2][8], const uint8_t *row, int64_t unit)
    {
        const uint8_t *block = row + unit / 16 * BYTES;
        const int pair = (int)(unit % 16) / 4, offset = (int)(unit % 4) * 8;
        uint32_t words[2], fifth[2] = {0, 0};
        dtype_cuda_eight<8>(words, block + (FIFTH ? 48 : 16) + pair * 32 + offset);
        if (FIFTH)
            dtype_cuda_eight<8>(fifth, block + 16 + offset);
#pragma unroll
        for (int octet = 0; octet < 2; octet++) {
            const int j = 2 * pair + octet;
            int scale_bits, minimum_bits;
            scales(&scale_bits, &minimum_bits, block + 4, j);
            const float scale = dtype_cuda_f16(block) * (float)scale_bits;
            const float minimum = dtype_cuda_f16(block + 2) * (float)minimum_bits;
#pragma unroll
            for (int i = 0; i < 8; i++) {
                int value = dtype_cuda_byte(words, i) >> (4 * octet) & 15;
                if (FIFTH)
                    value |= (dtype_cuda_byte(fifth, i) >> j & 1) << 4;
                out[octet][i] = scale * (float)value - minimum;
            }
        }
    }
};

template <> struct dtype_cuda<DTYPE_Q4_K> : dtype_cuda_sub_blocks<false, 144> {
};

template <> struct dtype_cuda<DTYPE_Q5_K> : dtype_cuda_sub_blocks<true, 176> {
};

template <> struct dtype_cuda<DTYPE_Q6_K> {
    enum { APART = 64 };
    static __device__ __forceinline__ int64_t first(int64_t unit)
    {
        return unit / 8 * 128 + unit % 8 * 8;
    }
    /* Runs of 32: the low nibbles of a byte are of runs 0 and 1, the high ones of 2 and 3. */
    static __device__ __forceinline__ void expand(float out[2][8], const uint8_t *row, int64_t unit)
    {
        const uint8_t *block = row + unit / 16 * 210;
        const int half = (int)(unit % 16) / 8, place = (int)(unit % 8) * 8; /* in runs 0 and 1 */
        uint32_t low[2], high[2];
        dtype_cuda_eight<2>(low, block + half * 64 + place);
        dtype_cuda_eight<2>(high, block + 128 + half * 32 + place % 32);
        const float super_scale = dtype_cuda_f16(block + 208);
#pragma unroll
        for (int octet = 0; octet < 2; octet++) {
            const int element = half * 128 + octet * 64 + place; /* of the block */
            const int run = element % 128 / 32;
            const float scale = super_scale * (float)(int8_t)block[192 + element / 16];
#pragma unroll
            for (int i = 0; i < 8; i++) {
                const int nibble = dtype_cuda_byte(low, i) >> (4 * octet) & 15;
                const int top = dtype_cuda_byte(high, i) >> (2 * run) & 3;
                out[octet][i] = scale * (float)((nibble | top << 4) - 32);
            }
        }
    }
};
