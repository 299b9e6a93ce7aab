/* Owns the rounding of float32 rows to weight formats: the largest magnitude of a block sets its
 * scale. */
#include "tests/support/quantize.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 32, SUPER = 256, SUBS = SUPER / BLOCK, Q6_BLOCK = 16 };

static void put_f16(uint8_t *out, float value)
{
    uint16_t half = dtype_f16_from_f32(value);
    out[0] = (uint8_t)half;
    out[1] = (uint8_t)(half >> 8);
}

static float rounded_f16(float value)
{
    return dtype_f32_from_f16(dtype_f16_from_f32(value));
}

static int nearest(float value, int least, int most)
{
    long rounded = lrintf(value);
    return rounded < least ? least : rounded > most ? most : (int)rounded;
}

static void extremes(const float *in, float *least, float *most)
{
    *least = in[0];
    *most = in[0];
    for (int i = 1; i < BLOCK; i++) {
        *least = fminf(*least, in[i]);
        *most = fmaxf(*most, in[i]);
    }
}

static void pack_q8_0(uint8_t *block, const float *in)
{
    float least;
    float most;
    extremes(in, &least, &most);
    float scale = rounded_f16(fmaxf(-least, most) / 127.0f);
    put_f16(block, scale);
    for (int i = 0; i < BLOCK; i++)
        block[2 + i] = (uint8_t)(scale > 0 ? nearest(in[i] / scale, -127, 127) : 0);
}

static void pack_nibbles(uint8_t *out, const float *in, float scale, float zero)
{
    for (int i = 0; i < BLOCK / 2; i++) {
        int low = scale != 0 ? nearest((in[i] - zero) / scale, 0, 15) : 0;
        int high = scale != 0 ? nearest((in[i + BLOCK / 2] - zero) / scale, 0, 15) : 0;
        out[i] = (uint8_t)(low | high << 4);
    }
}

static void pack_q4_0(uint8_t *block, const float *in)
{
    float least;
    float most;
    extremes(in, &least, &most);
    float scale = rounded_f16(-least > most ? least / -8.0f : most / -8.0f);
    put_f16(block, scale);
    pack_nibbles(block + 2, in, scale, -8.0f * scale);
}

static void pack_q4_1(uint8_t *block, const float *in)
{
    float least;
    float most;
    extremes(in, &least, &most);
    float zero = rounded_f16(least);
    float scale = rounded_f16((most - least) / 15.0f);
    put_f16(block, scale);
    put_f16(block + 2, zero);
    pack_nibbles(block + 4, in, scale, zero);
}

/* Numbers of 0 .. 31: their nibbles, and the fifth bit of element i as bit i. */
static void pack_five_bits(uint8_t *fifth, uint8_t *nibbles, const float *in, float scale,
                           float zero)
{
    memset(fifth, 0, 4);
    memset(nibbles, 0, BLOCK / 2);
    for (int i = 0; i < BLOCK; i++) {
        int value = scale != 0 ? nearest((in[i] - zero) / scale, 0, 31) : 0;
        nibbles[i % 16] |= (uint8_t)((value & 15) << (i < 16 ? 0 : 4));
        fifth[i / 8] |= (uint8_t)(value >> 4 << i % 8);
    }
}

static void pack_q5_0(uint8_t *block, const float *in)
{
    float least;
    float most;
    extremes(in, &least, &most);
    float scale = rounded_f16(-least > most ? least / -16.0f : most / -16.0f);
    put_f16(block, scale);
    pack_five_bits(block + 2, block + 6, in, scale, -16.0f * scale);
}

static void pack_q5_1(uint8_t *block, const float *in)
{
    float least;
    float most;
    extremes(in, &least, &most);
    float zero = rounded_f16(least);
    float scale = rounded_f16((most - least) / 31.0f);
    put_f16(block, scale);
    put_f16(block + 2, zero);
    pack_five_bits(block + 4, block + 8, in, scale, zero);
}

/* Six bits of scale and of minimum for sub-block `sub`, as Q4_K and Q5_K keep them. */
static void put_six_bit_pair(uint8_t *packed, int sub, int scale, int minimum)
{
    if (sub < 4) {
        packed[sub] |= (uint8_t)scale;
        packed[sub + 4] |= (uint8_t)minimum;
        return;
    }
    packed[sub + 4] |= (uint8_t)((scale & 15) | (minimum & 15) << 4);
    packed[sub - 4] |= (uint8_t)(scale >> 4 << 6);
    packed[sub] |= (uint8_t)(minimum >> 4 << 6);
}

/* Q4_K, or Q5_K where `fifth` is not NULL. A minimum is taken off, so it is at most 0. */
static void pack_sub_blocks(uint8_t *block, const float *in, uint8_t *fifth, uint8_t *nibbles)
{
    const int most_value = fifth ? 31 : 15;
    float scales[SUBS], minima[SUBS], scale_max = 0, minimum_max = 0;
    for (int sub = 0; sub < SUBS; sub++) {
        float least;
        float most;
        extremes(in + sub * BLOCK, &least, &most);
        minima[sub] = fmaxf(0, -least);
        scales[sub] = fmaxf(0, most + minima[sub]) / (float)most_value;
        scale_max = fmaxf(scale_max, scales[sub]);
        minimum_max = fmaxf(minimum_max, minima[sub]);
    }
    float super_scale = rounded_f16(scale_max / 63);
    float super_minimum = rounded_f16(minimum_max / 63);
    put_f16(block, super_scale);
    put_f16(block + 2, super_minimum);
    for (int sub = 0; sub < SUBS; sub++) {
        int scale = super_scale > 0 ? nearest(scales[sub] / super_scale, 0, 63) : 0;
        int minimum = super_minimum > 0 ? nearest(minima[sub] / super_minimum, 0, 63) : 0;
        put_six_bit_pair(block + 4, sub, scale, minimum);
        for (int i = 0; i < BLOCK && scale > 0; i++) {
            float above = in[sub * BLOCK + i] + super_minimum * (float)minimum;
            int value = nearest(above / (super_scale * (float)scale), 0, most_value);
            nibbles[sub / 2 * BLOCK + i] |= (uint8_t)((value & 15) << sub % 2 * 4);
            if (fifth)
                fifth[i] |= (uint8_t)(value >> 4 << sub);
        }
    }
}

static void pack_q4_k(uint8_t *block, const float *in)
{
    memset(block, 0, dtype_block_bytes(DTYPE_Q4_K));
    pack_sub_blocks(block, in, NULL, block + 16);
}

static void pack_q5_k(uint8_t *block, const float *in)
{
    memset(block, 0, dtype_block_bytes(DTYPE_Q5_K));
    pack_sub_blocks(block, in, block + 16, block + 48);
}

/* Element i of a Q6_K block, 0 .. 63: four bits in one place, two in another. */
static void put_six_bits(uint8_t *block, int i, int value)
{
    int half = i / 128, run = i % 128 / 32, lane = i % 32;
    block[half * 64 + run % 2 * 32 + lane] |= (uint8_t)((value & 15) << run / 2 * 4);
    block[128 + half * 32 + lane] |= (uint8_t)(value >> 4 << run * 2);
}

static void pack_q6_k(uint8_t *block, const float *in)
{
    memset(block, 0, dtype_block_bytes(DTYPE_Q6_K));
    float largest[SUPER / Q6_BLOCK] = {0};
    float most = 0;
    for (int i = 0; i < SUPER; i++) {
        largest[i / Q6_BLOCK] = fmaxf(largest[i / Q6_BLOCK], fabsf(in[i]));
        most = fmaxf(most, fabsf(in[i]));
    }
    float super_scale = rounded_f16(most / 31 / 127);
    put_f16(block + 208, super_scale);
    for (int i = 0; i < SUPER; i++) {
        int sub = i / Q6_BLOCK;
        int scale = super_scale > 0 ? nearest(largest[sub] / 31 / super_scale, 0, 127) : 0;
        block[192 + sub] = (uint8_t)scale;
        float step = super_scale * (float)scale;
        put_six_bits(block, i, 32 + (step > 0 ? nearest(in[i] / step, -32, 31) : 0));
    }
}

/* The largest magnitude. */
static float reach_of(const float *in, int count)
{
    float most = 0;
    for (int i = 0; i < count; i++)
        most = fmaxf(most, fabsf(in[i]));
    return most;
}

/* Numbers of -4 .. 3, of which 3 steps reach the largest. */
static void pack_q3_k(uint8_t *block, const float *in)
{
    const float super_scale = rounded_f16(reach_of(in, SUPER) / 3 / 31);
    memset(block, 0, dtype_block_bytes(DTYPE_Q3_K));
    put_f16(block + 108, super_scale);
    for (int sub = 0; sub < SUPER / 16; sub++) {
        const float reach = reach_of(in + sub * 16, 16) / 3;
        const int scale = super_scale > 0 ? nearest(reach / super_scale, 0, 31) : 0;
        const float step = super_scale * (float)scale;
        block[96 + sub % 8] |= (uint8_t)(((scale + 32) & 15) << sub / 8 * 4);
        block[96 + 8 + sub % 4] |= (uint8_t)((scale + 32) >> 4 << sub / 4 * 2);
        for (int i = sub * 16; i < sub * 16 + 16; i++) {
            const int value = step > 0 ? nearest(in[i] / step, -4, 3) : 0;
            block[32 + i / 128 * 32 + i % 32] |= (uint8_t)((value & 3) << i % 128 / 32 * 2);
            block[i % 32] |= (uint8_t)((value >= 0) << i / 32);
        }
    }
}

/* Numbers of 0 .. 3 above a minimum that is taken off. */
static void pack_q2_k(uint8_t *block, const float *in)
{
    float steps[16], minima[16], step_most = 0, minimum_most = 0;
    memset(block, 0, dtype_block_bytes(DTYPE_Q2_K));
    for (int sub = 0; sub < 16; sub++) {
        float least = 0, most = 0;
        for (int i = sub * 16; i < sub * 16 + 16; i++) {
            least = fminf(least, in[i]);
            most = fmaxf(most, in[i]);
        }
        minima[sub] = -least;
        steps[sub] = (most - least) / 3;
        step_most = fmaxf(step_most, steps[sub]);
        minimum_most = fmaxf(minimum_most, minima[sub]);
    }
    const float super_scale = rounded_f16(step_most / 15);
    const float super_minimum = rounded_f16(minimum_most / 15);
    put_f16(block + 80, super_scale);
    put_f16(block + 82, super_minimum);
    for (int i = 0; i < SUPER; i++) {
        const int sub = i / 16;
        const int scale = super_scale > 0 ? nearest(steps[sub] / super_scale, 0, 15) : 0;
        const int minimum = super_minimum > 0 ? nearest(minima[sub] / super_minimum, 0, 15) : 0;
        const float step = super_scale * (float)scale;
        const float above = in[i] + super_minimum * (float)minimum;
        const int value = step > 0 ? nearest(above / step, 0, 3) : 0;
        block[sub] = (uint8_t)(scale | minimum << 4);
        block[16 + i / 128 * 32 + i % 32] |= (uint8_t)(value << i % 128 / 32 * 2);
    }
}

/* The nearest of the 16 values of IQ4_NL. */
static int nearest_iq4(float value)
{
    int best = 0;
    for (int i = 1; i < 16; i++)
        if (fabsf(value - (float)dtype_iq4_values[i]) <
            fabsf(value - (float)dtype_iq4_values[best]))
            best = i;
    return best;
}

static void pack_iq4(uint8_t *nibbles, const float *in, float scale)
{
    for (int i = 0; i < BLOCK / 2; i++) {
        const int low = scale > 0 ? nearest_iq4(in[i] / scale) : 8;
        const int high = scale > 0 ? nearest_iq4(in[i + BLOCK / 2] / scale) : 8;
        nibbles[i] = (uint8_t)(low | high << 4);
    }
}

static void pack_iq4_nl(uint8_t *block, const float *in)
{
    const float scale = rounded_f16(reach_of(in, BLOCK) / 113);
    put_f16(block, scale);
    pack_iq4(block + 2, in, scale);
}

static void pack_iq4_xs(uint8_t *block, const float *in)
{
    const float super_scale = rounded_f16(reach_of(in, SUPER) / 113 / 31);
    memset(block, 0, dtype_block_bytes(DTYPE_IQ4_XS));
    put_f16(block, super_scale);
    for (int sub = 0; sub < SUBS; sub++) {
        const float reach = reach_of(in + sub * BLOCK, BLOCK) / 113;
        const int scale = super_scale > 0 ? nearest(reach / super_scale, 0, 31) : 0;
        block[2 + sub / 4] |= (uint8_t)((scale + 32) >> 4 << sub % 4 * 2);
        block[4 + sub / 2] |= (uint8_t)(((scale + 32) & 15) << sub % 2 * 4);
        pack_iq4(block + 8 + sub * 16, in + sub * BLOCK, super_scale * (float)scale);
    }
}

static void pack_plain(uint8_t *out, float value, enum dtype dtype)
{
    if (dtype == DTYPE_F32) {
        memcpy(out, &value, sizeof value);
        return;
    }
    uint16_t half = dtype == DTYPE_F16 ? dtype_f16_from_f32(value) : dtype_bf16_from_f32(value);
    memcpy(out, &half, sizeof half);
}

void quantize_row(void *row, const float *in, enum dtype dtype, int64_t elements)
{
    static void (*const pack[DTYPE_COUNT])(uint8_t *, const float *) = {
        [DTYPE_Q4_0] = pack_q4_0,     [DTYPE_Q4_1] = pack_q4_1,     [DTYPE_Q5_0] = pack_q5_0,
        [DTYPE_Q5_1] = pack_q5_1,     [DTYPE_Q8_0] = pack_q8_0,     [DTYPE_Q4_K] = pack_q4_k,
        [DTYPE_Q5_K] = pack_q5_k,     [DTYPE_Q6_K] = pack_q6_k,     [DTYPE_Q3_K] = pack_q3_k,
        [DTYPE_IQ4_NL] = pack_iq4_nl, [DTYPE_IQ4_XS] = pack_iq4_xs, [DTYPE_Q2_K] = pack_q2_k,
    };
    int block_elements = dtype_block_elements(dtype);
    assert(elements % block_elements == 0);
    uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += block_elements, block += dtype_block_bytes(dtype)) {
        if (pack[dtype])
            pack[dtype](block, in + i);
        else
            pack_plain(block, in[i], dtype);
    }
}
