/* Owns the rounding of float32 rows to weight formats: the largest magnitude of a block sets its
 * scale. */
#include "tests/support/quantize.h"

#include <assert.h>
#include <math.h>

enum { BLOCK = 32 };

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
    int block_elements = dtype_block_elements(dtype);
    assert(elements % block_elements == 0);
    uint8_t *block = row;
    for (int64_t i = 0; i < elements; i += block_elements, block += dtype_block_bytes(dtype)) {
        if (block_elements == 1)
            pack_plain(block, in[i], dtype);
        else if (dtype == DTYPE_Q8_0)
            pack_q8_0(block, in + i);
        else if (dtype == DTYPE_Q4_0)
            pack_q4_0(block, in + i);
        else if (dtype == DTYPE_Q4_1)
            pack_q4_1(block, in + i);
        else
            assert(!"no quantiser for this format");
    }
}
