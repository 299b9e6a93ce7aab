/* Owns the table of number formats and the plain expansion of each to float32. Promises the exact
 * value of every element: one product and at most one sum in float32, in the order that the format
 * defines.
 */
#include "kernels/dtype.h"

#include <assert.h>

enum { SMALL_BLOCK = 32, SUPER_BLOCK = 256 };

static const struct {
    const char *name;
    int elements;
    size_t bytes;
} rows[DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 1, 4},
    [DTYPE_F16] = {"F16", 1, 2},
    [DTYPE_BF16] = {"BF16", 1, 2},
    [DTYPE_Q4_0] = {"Q4_0", SMALL_BLOCK, 18},
    [DTYPE_Q4_1] = {"Q4_1", SMALL_BLOCK, 20},
    [DTYPE_Q5_0] = {"Q5_0", SMALL_BLOCK, 22},
    [DTYPE_Q5_1] = {"Q5_1", SMALL_BLOCK, 24},
    [DTYPE_Q8_0] = {"Q8_0", SMALL_BLOCK, 34},
    [DTYPE_Q4_K] = {"Q4_K", SUPER_BLOCK, 144},
    [DTYPE_Q5_K] = {"Q5_K", SUPER_BLOCK, 176},
    [DTYPE_Q6_K] = {"Q6_K", SUPER_BLOCK, 210},
    [DTYPE_Q3_K] = {"Q3_K", SUPER_BLOCK, 110},
    [DTYPE_IQ4_NL] = {"IQ4_NL", SMALL_BLOCK, 18},
    [DTYPE_IQ4_XS] = {"IQ4_XS", SUPER_BLOCK, 136},
    [DTYPE_Q2_K] = {"Q2_K", SUPER_BLOCK, 84},
};

const char *dtype_name(enum dtype dtype)
{
    assert(dtype < DTYPE_COUNT);
    return rows[dtype].name;
}

int dtype_block_elements(enum dtype dtype)
{
    assert(dtype < DTYPE_COUNT);
    return rows[dtype].elements;
}

size_t dtype_block_bytes(enum dtype dtype)
{
    assert(dtype < DTYPE_COUNT);
    return rows[dtype].bytes;
}

size_t dtype_row_bytes(enum dtype dtype, int64_t elements)
{
    assert(dtype < DTYPE_COUNT);
    size_t bytes;
    if (elements < 0 || elements % rows[dtype].elements != 0 ||
        __builtin_mul_overflow((size_t)elements / (size_t)rows[dtype].elements, rows[dtype].bytes,
                               &bytes))
        return 0;
    return bytes;
}

static float f16_at(const uint8_t *bytes)
{
    return dtype_f32_from_f16((uint16_t)(bytes[0] | bytes[1] << 8));
}

/* f16 d, 16 bytes: low nibbles are the first half, high nibbles the second. */
static void expand_q4_0(float *out, const uint8_t *block)
{
    float scale = f16_at(block);
    for (int i = 0; i < SMALL_BLOCK / 2; i++) {
        out[i] = (float)((block[2 + i] & 15) - 8) * scale;
        out[i + SMALL_BLOCK / 2] = (float)((block[2 + i] >> 4) - 8) * scale;
    }
}

static void expand_q4_1(float *out, const uint8_t *block)
{
    float scale = f16_at(block);
    float minimum = f16_at(block + 2);
    for (int i = 0; i < SMALL_BLOCK / 2; i++) {
        out[i] = (float)(block[4 + i] & 15) * scale + minimum;
        out[i + SMALL_BLOCK / 2] = (float)(block[4 + i] >> 4) * scale + minimum;
    }
}

/* The five-bit number of element `i`: a nibble of `nibbles` and bit i of the four bytes at
 * `fifth`. */
static int five_bits(const uint8_t *fifth, const uint8_t *nibbles, int i)
{
    int low = i < SMALL_BLOCK / 2 ? nibbles[i] & 15 : nibbles[i - SMALL_BLOCK / 2] >> 4;
    return low | (fifth[i / 8] >> (i % 8) & 1) << 4;
}

static void expand_q5_0(float *out, const uint8_t *block)
{
    float scale = f16_at(block);
    for (int i = 0; i < SMALL_BLOCK; i++)
        out[i] = (float)(five_bits(block + 2, block + 6, i) - 16) * scale;
}

static void expand_q5_1(float *out, const uint8_t *block)
{
    float scale = f16_at(block);
    float minimum = f16_at(block + 2);
    for (int i = 0; i < SMALL_BLOCK; i++)
        out[i] = (float)five_bits(block + 4, block + 8, i) * scale + minimum;
}

static void expand_q8_0(float *out, const uint8_t *block)
{
    float scale = f16_at(block);
    for (int i = 0; i < SMALL_BLOCK; i++)
        out[i] = (float)(int8_t)block[2 + i] * scale;
}

/* The six-bit scale and minimum of sub-block `j` (0..7) out of twelve bytes. */
static void six_bit_pair(int *scale, int *minimum, const uint8_t *packed, int j)
{
    if (j < 4) {
        *scale = packed[j] & 63;
        *minimum = packed[j + 4] & 63;
        return;
    }
    *scale = (packed[j + 4] & 15) | packed[j - 4] >> 6 << 4;
    *minimum = packed[j + 4] >> 4 | packed[j] >> 6 << 4;
}

/* f16 d, f16 dmin, scales[12], for Q5_K the fifth bits [32], then nibbles [128]; `fifth` NULL for
 * Q4_K. */
static void expand_sub_blocks(float *out, const uint8_t *block, const uint8_t *fifth,
                              const uint8_t *nibbles)
{
    float super_scale = f16_at(block);
    float super_minimum = f16_at(block + 2);
    for (int j = 0; j < 8; j++) {
        int scale_bits;
        int minimum_bits;
        six_bit_pair(&scale_bits, &minimum_bits, block + 4, j);
        float scale = super_scale * (float)scale_bits;
        float minimum = super_minimum * (float)minimum_bits;
        for (int i = 0; i < 32; i++) {
            int value = nibbles[j / 2 * 32 + i] >> (j % 2 * 4) & 15;
            if (fifth)
                value |= (fifth[i] >> j & 1) << 4;
            out[j * 32 + i] = scale * (float)value - minimum;
        }
    }
}

static void expand_q4_k(float *out, const uint8_t *block)
{
    expand_sub_blocks(out, block, NULL, block + 16);
}

static void expand_q5_k(float *out, const uint8_t *block)
{
    expand_sub_blocks(out, block, block + 16, block + 48);
}

/* low[128], high[64], i8 scales[16], f16 d. Each half of 128 elements is four runs of 32. */
static void expand_q6_k(float *out, const uint8_t *block)
{
    float super_scale = f16_at(block + 208);
    for (int i = 0; i < SUPER_BLOCK; i++) {
        int half = i / 128;
        int run = i % 128 / 32;
        int lane = i % 32;
        int low = block[half * 64 + run % 2 * 32 + lane] >> (run / 2 * 4) & 15;
        int high = block[128 + half * 32 + lane] >> (run * 2) & 3;
        float scale = super_scale * (float)(int8_t)block[192 + i / 16];
        out[i] = scale * (float)((low | high << 4) - 32);
    }
}

/* third bits[32], pairs[64], scales[12], f16 d. Each half of 128 elements is four runs of 32, whose
 * pairs are in the same bytes; a third bit that is not set takes 4 off. */
static void expand_q3_k(float *out, const uint8_t *block)
{
    const uint8_t *packed = block + 96;
    float super_scale = f16_at(block + 108);
    for (int i = 0; i < SUPER_BLOCK; i++) {
        const int sub = i / 16, lane = i % 32;
        const int low = packed[sub % 8] >> (sub / 8 * 4) & 15;
        const int high = packed[8 + sub % 4] >> (sub / 4 * 2) & 3;
        const int pair = block[32 + i / 128 * 32 + lane] >> (i % 128 / 32 * 2) & 3;
        const int third = block[lane] >> (i / 32) & 1;
        out[i] = super_scale * (float)((low | high << 4) - 32) * (float)(pair - 4 + third * 4);
    }
}

/* scale and minimum of 16 elements in a byte [16], pairs[64], f16 d, f16 dmin. Each half of 128
 * elements is four runs of 32, whose pairs are in the same bytes. */
static void expand_q2_k(float *out, const uint8_t *block)
{
    const float super_scale = f16_at(block + 80);
    const float super_minimum = f16_at(block + 82);
    for (int i = 0; i < SUPER_BLOCK; i++) {
        const int pair = block[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
        const float scale = super_scale * (float)(block[i / 16] & 15);
        const float minimum = super_minimum * (float)(block[i / 16] >> 4);
        out[i] = scale * (float)pair - minimum;
    }
}

const int8_t dtype_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                     1,    13,   25,  38,  53,  69,  89,  113};

static void expand_iq4(float *out, const uint8_t *nibbles, float scale)
{
    for (int i = 0; i < SMALL_BLOCK / 2; i++) {
        out[i] = scale * (float)dtype_iq4_values[nibbles[i] & 15];
        out[i + SMALL_BLOCK / 2] = scale * (float)dtype_iq4_values[nibbles[i] >> 4];
    }
}

static void expand_iq4_nl(float *out, const uint8_t *block)
{
    expand_iq4(out, block + 2, f16_at(block));
}

/* f16 d, the upper two bits of eight scales [2], their lower four [4], nibbles [128]. */
static void expand_iq4_xs(float *out, const uint8_t *block)
{
    const int highs = block[2] | block[3] << 8;
    for (int sub = 0; sub < SUPER_BLOCK / SMALL_BLOCK; sub++) {
        const int low = block[4 + sub / 2] >> (sub % 2 * 4) & 15;
        const int scale = (low | (highs >> (2 * sub) & 3) << 4) - 32;
        expand_iq4(out + sub * SMALL_BLOCK, block + 8 + sub * 16, f16_at(block) * (float)scale);
    }
}

static void expand_f32(float *out, const uint8_t *bytes)
{
    memcpy(out, bytes, sizeof *out);
}

static void expand_f16(float *out, const uint8_t *bytes)
{
    *out = f16_at(bytes);
}

static void expand_bf16(float *out, const uint8_t *bytes)
{
    *out = dtype_f32_from_bf16((uint16_t)(bytes[0] | bytes[1] << 8));
}

void dtype_dequantize_row(float *out, const void *row, enum dtype dtype, int64_t elements)
{
    static void (*const expand[DTYPE_COUNT])(float *, const uint8_t *) = {
        [DTYPE_F32] = expand_f32,       [DTYPE_F16] = expand_f16,       [DTYPE_BF16] = expand_bf16,
        [DTYPE_Q4_0] = expand_q4_0,     [DTYPE_Q4_1] = expand_q4_1,     [DTYPE_Q5_0] = expand_q5_0,
        [DTYPE_Q5_1] = expand_q5_1,     [DTYPE_Q8_0] = expand_q8_0,     [DTYPE_Q4_K] = expand_q4_k,
        [DTYPE_Q5_K] = expand_q5_k,     [DTYPE_Q6_K] = expand_q6_k,     [DTYPE_Q3_K] = expand_q3_k,
        [DTYPE_IQ4_NL] = expand_iq4_nl, [DTYPE_IQ4_XS] = expand_iq4_xs, [DTYPE_Q2_K] = expand_q2_k,
    };
    assert(dtype < DTYPE_COUNT && elements >= 0 && elements % rows[dtype].elements == 0);
    const uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += rows[dtype].elements, block += rows[dtype].bytes)
        expand[dtype](out + i, block);
}
