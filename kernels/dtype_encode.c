/* Owns the rounding of float32 rows to written formats. Promises the bytes that dtype_encode.h's
 * formulas make, on every machine. */
#include "kernels/dtype_encode.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 32 };

static void put_f16(uint8_t *out, float value)
{
    const uint16_t half = dtype_f16_from_f32(value);
    out[0] = (uint8_t)half;
    out[1] = (uint8_t)(half >> 8);
}

/* The first element of the largest magnitude. */
static float extreme(const float *in)
{
    float found = in[0];
    for (int i = 1; i < BLOCK; i++)
        if (fabsf(in[i]) > fabsf(found))
            found = in[i];
    return found;
}

static float inverse(float scale)
{
    return scale == 0 ? 0 : 1 / scale;
}

/* A product that overflowed is no number to make an integer of: 1/d is infinite for a subnormal
 * d. */
static int truncated(float value, int most)
{
    if (!(value > 0))
        return 0;
    return value < (float)most ? (int)value : most;
}

static void put_nibbles(uint8_t *out, const int *q)
{
    for (int i = 0; i < BLOCK / 2; i++)
        out[i] = (uint8_t)((q[i] & 15) | (q[i + BLOCK / 2] & 15) << 4);
}

static void put_fifth_bits(uint8_t *out, const int *q)
{
    memset(out, 0, BLOCK / 8);
    for (int i = 0; i < BLOCK; i++)
        out[i / 8] |= (uint8_t)(q[i] >> 4 << i % 8);
}

/* Around zero: q of 0 .. 2 half - 1 stand for -half .. half - 1. Returns d. */
static float round_around_zero(int *q, const float *in, int half)
{
    const float scale = extreme(in) / (float)-half;
    const float factor = inverse(scale);
    for (int i = 0; i < BLOCK; i++)
        q[i] = truncated(in[i] * factor + ((float)half + 0.5f), 2 * half - 1);
    return scale;
}

/* From the least element up. */
static float round_from_least(int *q, float *minimum, const float *in, int most)
{
    float least = in[0];
    float largest = in[0];
    for (int i = 1; i < BLOCK; i++) {
        least = fminf(least, in[i]);
        largest = fmaxf(largest, in[i]);
    }
    const float scale = (largest - least) / (float)most;
    const float factor = inverse(scale);
    for (int i = 0; i < BLOCK; i++)
        q[i] = truncated((in[i] - least) * factor + 0.5f, most);
    *minimum = least;
    return scale;
}

static void encode_q8_0(uint8_t *block, const float *in)
{
    const float scale = fabsf(extreme(in)) / 127;
    const float factor = inverse(scale);
    put_f16(block, scale);
    for (int i = 0; i < BLOCK; i++) {
        const int magnitude = truncated(roundf(fabsf(in[i] * factor)), 127);
        block[2 + i] = (uint8_t)(in[i] < 0 ? -magnitude : magnitude);
    }
}

static void encode_q4_0(uint8_t *block, const float *in)
{
    int q[BLOCK];
    put_f16(block, round_around_zero(q, in, 8));
    put_nibbles(block + 2, q);
}

static void encode_q5_0(uint8_t *block, const float *in)
{
    int q[BLOCK];
    put_f16(block, round_around_zero(q, in, 16));
    put_fifth_bits(block + 2, q);
    put_nibbles(block + 6, q);
}

static void encode_q4_1(uint8_t *block, const float *in)
{
    int q[BLOCK];
    float minimum;
    put_f16(block, round_from_least(q, &minimum, in, 15));
    put_f16(block + 2, minimum);
    put_nibbles(block + 4, q);
}

static void encode_q5_1(uint8_t *block, const float *in)
{
    int q[BLOCK];
    float minimum;
    put_f16(block, round_from_least(q, &minimum, in, 31));
    put_f16(block + 2, minimum);
    put_fifth_bits(block + 4, q);
    put_nibbles(block + 8, q);
}

static void encode_f32(uint8_t *out, const float *in)
{
    memcpy(out, in, sizeof *in);
}

static void encode_f16(uint8_t *out, const float *in)
{
    put_f16(out, *in);
}

static void encode_bf16(uint8_t *out, const float *in)
{
    const uint16_t half = dtype_bf16_from_f32(*in);
    out[0] = (uint8_t)half;
    out[1] = (uint8_t)(half >> 8);
}

static void (*const encoders[DTYPE_COUNT])(uint8_t *, const float *) = {
    [DTYPE_F32] = encode_f32,   [DTYPE_F16] = encode_f16,   [DTYPE_BF16] = encode_bf16,
    [DTYPE_Q4_0] = encode_q4_0, [DTYPE_Q4_1] = encode_q4_1, [DTYPE_Q5_0] = encode_q5_0,
    [DTYPE_Q5_1] = encode_q5_1, [DTYPE_Q8_0] = encode_q8_0,
};

bool dtype_encode_knows(enum dtype dtype)
{
    return dtype < DTYPE_COUNT && encoders[dtype];
}

/* What is half a unit above the largest bf16 rounds to infinity; below it, to that one. In F16 the
 * largest itself is the limit. The minimum, or (max - min) / 15, is at most 65504; the other scales
 * are smaller than what they scale. */
float dtype_encode_most(enum dtype dtype)
{
    if (dtype == DTYPE_F32)
        return INFINITY;
    return dtype == DTYPE_BF16 ? 0x1.fefffep127f : 65504.0f;
}

void dtype_encode_row(void *row, const float *in, enum dtype dtype, int64_t elements)
{
    assert(dtype_encode_knows(dtype) && elements % dtype_block_elements(dtype) == 0);
    uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += dtype_block_elements(dtype)) {
        encoders[dtype](block, in + i);
        block += dtype_block_bytes(dtype);
    }
}
