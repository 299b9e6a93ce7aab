/* The number formats of weights: names, block sizes, conversions, and the plain expansion to
 * float32.
 *
 * A row of a quantised type is a sequence of blocks, each of dtype_block_elements() values in
 * dtype_block_bytes() bytes. Rows are little-endian and have no alignment: readers go byte by byte
 * or through memcpy.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum dtype {
    DTYPE_F32,
    DTYPE_F16,
    DTYPE_BF16,
    DTYPE_Q4_0,
    DTYPE_Q4_1,
    DTYPE_Q5_0,
    DTYPE_Q5_1,
    DTYPE_Q8_0,
    DTYPE_Q4_K,
    DTYPE_Q5_K,
    DTYPE_Q6_K,
    DTYPE_Q3_K, /* from here on: on CPUs only */
    DTYPE_IQ4_NL,
    DTYPE_IQ4_XS,
    DTYPE_Q2_K,
    DTYPE_COUNT,                  /* of those */
    DTYPE_ON_GPU = DTYPE_Q3_K,    /* of those that GPUs multiply with */
    DTYPE_INT8 = DTYPE_COUNT + 1, /* of keys and values only: kernels/attention_int8.h */
};

/* "F32", "Q4_1", ...: as model files spell them. */
const char *dtype_name(enum dtype dtype);

int dtype_block_elements(enum dtype dtype);

size_t dtype_block_bytes(enum dtype dtype);

/* The bytes of a row of `elements` values; 0 where they do not fill whole blocks, are negative or
 * overflow. */
size_t dtype_row_bytes(enum dtype dtype, int64_t elements);

/* What the 16 numbers of IQ4_NL and IQ4_XS stand for. */
extern const int8_t dtype_iq4_values[16];

/* out [elements] float32, the exact value of every element of `row`; `elements` fills whole
 * blocks. */
void dtype_dequantize_row(float *out, const void *row, enum dtype dtype, int64_t elements);

static inline uint32_t dtype_bits_from_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float dtype_f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline float dtype_f32_from_bf16(uint16_t half)
{
    return dtype_f32_from_bits((uint32_t)half << 16);
}

/* Rounds to nearest, ties to even; a NaN stays a NaN (made quiet), whatever its payload. */
static inline uint16_t dtype_bf16_from_f32(float value)
{
    uint32_t bits = dtype_bits_from_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* Exact. */
static inline float dtype_f32_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t rest = half & 0x7fffu;
    if (rest >= 0x7c00u) /* infinity, NaN */
        return dtype_f32_from_bits(sign | 0x7f800000u | (rest & 0x3ffu) << 13);
    if (rest >= 0x0400u) /* normal: the exponent's bias moves from 15 to 127 */
        return dtype_f32_from_bits(sign | ((rest << 13) + (112u << 23)));
    float magnitude = (float)rest * 0x1p-24f;
    return dtype_f32_from_bits(sign | dtype_bits_from_f32(magnitude));
}

/* Rounds to nearest, ties to even; beyond 65519.99 becomes infinity; a NaN stays a NaN. */
static inline uint16_t dtype_f16_from_f32(float value)
{
    uint32_t bits = dtype_bits_from_f32(value);
    uint32_t sign = bits >> 16 & 0x8000u;
    uint32_t rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (rest >> 13 & 0x3ffu));
    if (rest >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    if (rest >= 0x38800000u) /* normal in f16 */
        return (uint16_t)(sign | (rest + 0xfffu + (rest >> 13 & 1u) - (112u << 23)) >> 13);
    /* Adding 0.5 leaves a multiple of 2^-24 in the low bits, rounded by the addition itself. */
    float shifted = dtype_f32_from_bits(rest) + 0.5f;
    return (uint16_t)(sign | (dtype_bits_from_f32(shifted) - 0x3f000000u));
}
