/* Owns the layout of matmul_panel.h: from the file's rows into it, and a single row out of it.
 * Promises that a row read back has exactly the values of dtype_dequantize_row. */
#include "kernels/matmul_panel.h"

#include <assert.h>
#include <string.h>

enum {
    LANES = MATMUL_SPLIT,
    DEPTH = MATMUL_PANEL_DEPTH,
    SUPER = 256, /* elements of a block of the K types */
};

/* DEPTH elements of one row: element k is quants[k] * scale[k / 16] + min. */
struct group {
    int8_t quants[DEPTH];
    float scale[2];
    float min;
};

static float f16_at(const uint8_t *bytes)
{
    return dtype_f32_from_f16((uint16_t)(bytes[0] | bytes[1] << 8));
}

enum matmul_layout matmul_panel_layout(enum dtype dtype)
{
    switch (dtype) {
    case DTYPE_F32:
    case DTYPE_Q2_K:
        return MATMUL_LAYOUT_FLOATS;
    case DTYPE_F16:
        return MATMUL_LAYOUT_HALVES;
    case DTYPE_BF16:
        return MATMUL_LAYOUT_PAIRS;
    case DTYPE_Q8_0:
    case DTYPE_Q5_0:
    case DTYPE_IQ4_NL:
        return MATMUL_LAYOUT_BYTES;
    case DTYPE_Q4_0:
        return MATMUL_LAYOUT_NIBBLES;
    case DTYPE_Q4_1:
        return MATMUL_LAYOUT_NIBBLES_MIN;
    case DTYPE_Q4_K:
        return MATMUL_LAYOUT_WIDE_NIBBLES;
    case DTYPE_Q5_1:
    case DTYPE_Q5_K:
    case DTYPE_Q6_K:
    case DTYPE_Q3_K:
    case DTYPE_IQ4_XS:
        return MATMUL_LAYOUT_WIDE_BYTES;
    case DTYPE_COUNT:
    case DTYPE_INT8:
        break;
    }
    assert(!"a dtype");
    return MATMUL_LAYOUT_COUNT;
}

static size_t quants_bytes(enum matmul_layout layout)
{
    static const size_t bytes_per_16_elements[MATMUL_LAYOUT_COUNT] = {64, 32, 32, 16, 8, 8, 8, 16};
    return bytes_per_16_elements[layout] * LANES * DEPTH / 16;
}

size_t matmul_panel_block_bytes(enum matmul_layout layout)
{
    static const size_t scale_bytes_per_row[MATMUL_LAYOUT_COUNT] = {0, 0, 0, 2, 2, 4, 8, 12};
    return quants_bytes(layout) + scale_bytes_per_row[layout] * LANES;
}

size_t matmul_panel_packed_bytes(enum dtype dtype, int64_t out, int64_t in)
{
    size_t panels = (size_t)((out + LANES - 1) / LANES);
    size_t blocks = panels * (size_t)matmul_panel_blocks(in);
    size_t bytes = blocks * matmul_panel_block_bytes(matmul_panel_layout(dtype));
    return (bytes + 63) / 64 * 64;
}

static void nibbles_split(int8_t *quants, const uint8_t *nibbles, int zero)
{
    for (int j = 0; j < 16; j++) {
        quants[j] = (int8_t)((nibbles[j] & 15) - zero);
        quants[j + 16] = (int8_t)((nibbles[j] >> 4) - zero);
    }
}

/* Adds the fifth bit of the Q5 types: bit k of a little-endian word for element k. */
static void fifth_bits_add(int8_t *quants, const uint8_t *bits)
{
    for (int k = 0; k < DEPTH; k++)
        quants[k] = (int8_t)(quants[k] + ((bits[k / 8] >> k % 8 & 1) << 4));
}

/* Scale and minimum of sub-block `sub` of Q4_K and Q5_K, 6 bits each. */
static void k_scales_get(const uint8_t *packed, int sub, int *scale, int *min)
{
    if (sub < 4) {
        *scale = packed[sub] & 63;
        *min = packed[sub + 4] & 63;
    } else {
        *scale = (packed[sub + 4] & 15) | packed[sub - 4] >> 6 << 4;
        *min = packed[sub + 4] >> 4 | packed[sub] >> 6 << 4;
    }
}

static void group_set_k45(struct group *group, const uint8_t *super, int sub, bool has_fifth)
{
    const uint8_t *fifth = super + 16;
    const uint8_t *quants = fifth + (has_fifth ? 32 : 0) + sub / 2 * 32;
    int scale;
    int min;
    k_scales_get(super + 4, sub, &scale, &min);
    group->scale[0] = group->scale[1] = f16_at(super) * (float)scale;
    group->min = -(f16_at(super + 2) * (float)min);
    for (int k = 0; k < DEPTH; k++) {
        int high = has_fifth ? fifth[k] >> sub & 1 : 0;
        int low = sub % 2 == 0 ? quants[k] & 15 : quants[k] >> 4;
        group->quants[k] = (int8_t)(low | high << 4);
    }
}

static void group_set_k6(struct group *group, const uint8_t *super, int sub)
{
    int quarter = sub % 4; /* of the 128 elements that share 64 bytes of ql and 32 of qh */
    const uint8_t *low = super + sub / 4 * 64 + quarter % 2 * 32;
    const uint8_t *high = super + 128 + sub / 4 * 32;
    const int8_t *scales = (const int8_t *)super + 192 + sub / 4 * 8 + quarter * 2;
    float d = f16_at(super + 208);
    for (int k = 0; k < DEPTH; k++) {
        int four = quarter < 2 ? low[k] & 15 : low[k] >> 4;
        int two = high[k] >> 2 * quarter & 3;
        group->quants[k] = (int8_t)((four | two << 4) - 32);
    }
    group->scale[0] = d * (float)scales[0];
    group->scale[1] = d * (float)scales[1];
}

static void group_set_k3(struct group *group, const uint8_t *super, int sub)
{
    const uint8_t *pairs = super + 32 + sub / 4 * 32;
    const uint8_t *packed = super + 96;
    for (int k = 0; k < DEPTH; k++)
        group->quants[k] =
            (int8_t)((pairs[k] >> (sub % 4 * 2) & 3) - (super[k] >> sub & 1 ? 0 : 4));
    for (int half = 0; half < 2; half++) {
        const int at = 2 * sub + half;
        const int low = packed[at % 8] >> (at / 8 * 4) & 15;
        const int high = packed[8 + at % 4] >> (at / 4 * 2) & 3;
        group->scale[half] = f16_at(super + 108) * (float)((low | high << 4) - 32);
    }
}

static void iq4_split(int8_t *quants, const uint8_t *nibbles)
{
    for (int j = 0; j < 16; j++) {
        quants[j] = dtype_iq4_values[nibbles[j] & 15];
        quants[j + 16] = dtype_iq4_values[nibbles[j] >> 4];
    }
}

static void group_set_iq4_xs(struct group *group, const uint8_t *super, int sub)
{
    const int highs = super[2] | super[3] << 8;
    const int low = super[4 + sub / 2] >> (sub % 2 * 4) & 15;
    const int scale = (low | (highs >> (2 * sub) & 3) << 4) - 32;
    group->scale[0] = group->scale[1] = f16_at(super) * (float)scale;
    iq4_split(group->quants, super + 8 + sub * 16);
}

/* The block-th DEPTH elements of a file row of a quantised type. */
static void group_set(struct group *group, const uint8_t *row, enum dtype dtype, int64_t block)
{
    bool is_super = dtype_block_elements(dtype) == SUPER;
    int64_t subs = is_super ? SUPER / DEPTH : 1;
    const uint8_t *at = row + (size_t)(block / subs) * dtype_block_bytes(dtype);
    int sub = (int)(block % subs);
    memset(group, 0, sizeof *group);
    group->scale[0] = group->scale[1] = f16_at(at);
    switch (dtype) {
    case DTYPE_Q4_0:
        nibbles_split(group->quants, at + 2, 0);
        break;
    case DTYPE_Q4_1:
        group->min = f16_at(at + 2);
        nibbles_split(group->quants, at + 4, 0);
        break;
    case DTYPE_Q5_0:
        nibbles_split(group->quants, at + 6, 16);
        fifth_bits_add(group->quants, at + 2);
        break;
    case DTYPE_Q5_1:
        group->min = f16_at(at + 2);
        nibbles_split(group->quants, at + 8, 0);
        fifth_bits_add(group->quants, at + 4);
        break;
    case DTYPE_Q8_0:
        memcpy(group->quants, at + 2, DEPTH);
        break;
    case DTYPE_Q6_K:
        group_set_k6(group, at, sub);
        break;
    case DTYPE_Q3_K:
        group_set_k3(group, at, sub);
        break;
    case DTYPE_IQ4_NL:
        iq4_split(group->quants, at + 2);
        break;
    case DTYPE_IQ4_XS:
        group_set_iq4_xs(group, at, sub);
        break;
    default:
        group_set_k45(group, at, sub, dtype == DTYPE_Q5_K);
    }
}

static void put_f16(uint8_t *scales, int lane, float value)
{
    uint16_t half = dtype_f16_from_f32(value);
    memcpy(scales + 2 * lane, &half, sizeof half);
}

static void put_f32(uint8_t *scales, int lane, float value)
{
    memcpy(scales + 4 * lane, &value, sizeof value);
}

/* Eight elements are four bytes of a lane, a pair each. */
static void put_nibbles(uint8_t *block, int lane, const int8_t *quants)
{
    for (int eight = 0; eight < DEPTH / 8; eight++, quants += 8) {
        uint8_t pairs[4];
        for (int p = 0; p < 4; p++)
            pairs[p] = (uint8_t)(quants[2 * p] | quants[2 * p + 1] << 4);
        memcpy(block + (eight * LANES + lane) * 4, pairs, sizeof pairs);
    }
}

static void put_bytes(uint8_t *block, int lane, const int8_t *quants)
{
    for (int k = 0; k < DEPTH; k++)
        block[k * LANES + lane] = (uint8_t)quants[k];
}

static void group_put(uint8_t *block, enum matmul_layout layout, int lane,
                      const struct group *group)
{
    uint8_t *scales = block + quants_bytes(layout);
    if (layout == MATMUL_LAYOUT_BYTES || layout == MATMUL_LAYOUT_WIDE_BYTES)
        put_bytes(block, lane, group->quants);
    else
        put_nibbles(block, lane, group->quants);
    if (layout == MATMUL_LAYOUT_WIDE_BYTES) {
        put_f32(scales, lane, group->scale[0]);
        put_f32(scales + 4 * LANES, lane, group->scale[1]);
        put_f32(scales + 8 * LANES, lane, group->min);
    } else if (layout == MATMUL_LAYOUT_WIDE_NIBBLES) {
        put_f32(scales, lane, group->scale[0]);
        put_f32(scales + 4 * LANES, lane, group->min);
    } else {
        put_f16(scales, lane, group->scale[0]);
        if (layout == MATMUL_LAYOUT_NIBBLES_MIN)
            put_f16(scales + 2 * LANES, lane, group->min);
    }
}

/* Where element k of a row lies in a block of an unquantised layout. */
static size_t element_offset(enum matmul_layout layout, int lane, int k)
{
    if (layout == MATMUL_LAYOUT_FLOATS)
        return (size_t)(k * LANES + lane) * 4;
    if (layout == MATMUL_LAYOUT_HALVES)
        return (size_t)(k * LANES + lane) * 2;
    return (size_t)((k / 2 * LANES + lane) * 2 + k % 2) * 2;
}

/* Two minima for the 32 elements of a block are more than a layout with scales has room for. */
static void put_expanded(uint8_t *block, const uint8_t *row, enum dtype dtype, int64_t blocks,
                         int lane)
{
    const int64_t subs = SUPER / DEPTH;
    float values[SUPER];
    for (int64_t b = 0; b < blocks; b++, block += matmul_panel_block_bytes(MATMUL_LAYOUT_FLOATS)) {
        if (b % subs == 0)
            dtype_dequantize_row(values, row + (size_t)(b / subs) * dtype_block_bytes(dtype), dtype,
                                 SUPER);
        for (int k = 0; k < DEPTH; k++)
            memcpy(block + element_offset(MATMUL_LAYOUT_FLOATS, lane, k),
                   &values[b % subs * DEPTH + k], sizeof values[0]);
    }
}

void matmul_panel_pack(void *packed, const void *rows, enum dtype dtype, int64_t out, int64_t in)
{
    enum matmul_layout layout = matmul_panel_layout(dtype);
    size_t block_bytes = matmul_panel_block_bytes(layout);
    size_t row_bytes = dtype_row_bytes(dtype, in);
    int64_t blocks = matmul_panel_blocks(in);
    memset(packed, 0, matmul_panel_packed_bytes(dtype, out, in));
    for (int64_t o = 0; o < out; o++) {
        const uint8_t *row = (const uint8_t *)rows + (size_t)o * row_bytes;
        int lane = (int)(o % LANES);
        uint8_t *block = (uint8_t *)packed + (size_t)(o / LANES * blocks) * block_bytes;
        if (layout == MATMUL_LAYOUT_FLOATS && dtype != DTYPE_F32) {
            put_expanded(block, row, dtype, blocks, lane);
            continue;
        }
        for (int64_t b = 0; b < blocks; b++, block += block_bytes) {
            if (dtype_block_elements(dtype) > 1) {
                struct group group;
                group_set(&group, row, dtype, b);
                group_put(block, layout, lane, &group);
                continue;
            }
            size_t bytes = dtype_block_bytes(dtype);
            for (int64_t k = b * DEPTH; k < in && k < (b + 1) * DEPTH; k++)
                memcpy(block + element_offset(layout, lane, (int)(k % DEPTH)),
                       row + (size_t)k * bytes, bytes);
        }
    }
}

static float get_f32(const uint8_t *scales, int lane)
{
    float value;
    memcpy(&value, scales + 4 * lane, sizeof value);
    return value;
}

static void group_get(struct group *group, const uint8_t *block, enum matmul_layout layout,
                      int lane)
{
    const uint8_t *scales = block + quants_bytes(layout);
    bool bytes = layout == MATMUL_LAYOUT_BYTES || layout == MATMUL_LAYOUT_WIDE_BYTES;
    for (int k = 0; k < DEPTH; k++) {
        int pair = block[(k / 8 * LANES + lane) * 4 + k % 8 / 2];
        group->quants[k] =
            bytes ? (int8_t)block[k * LANES + lane] : (int8_t)(pair >> k % 2 * 4 & 15);
    }
    if (layout == MATMUL_LAYOUT_WIDE_BYTES) {
        group->scale[0] = get_f32(scales, lane);
        group->scale[1] = get_f32(scales + 4 * LANES, lane);
        group->min = get_f32(scales + 8 * LANES, lane);
    } else if (layout == MATMUL_LAYOUT_WIDE_NIBBLES) {
        group->scale[0] = group->scale[1] = get_f32(scales, lane);
        group->min = get_f32(scales + 4 * LANES, lane);
    } else {
        float d = f16_at(scales + 2 * lane);
        group->scale[0] = group->scale[1] = d;
        group->min = 0;
        if (layout == MATMUL_LAYOUT_NIBBLES)
            group->min = -8 * d;
        if (layout == MATMUL_LAYOUT_NIBBLES_MIN)
            group->min = f16_at(scales + 2 * LANES + 2 * lane);
    }
}

void matmul_panel_row(float *row, const struct matmul_weights *weights, int64_t out_index)
{
    enum matmul_layout layout = matmul_panel_layout(weights->dtype);
    const enum dtype element = layout == MATMUL_LAYOUT_FLOATS ? DTYPE_F32 : weights->dtype;
    int64_t blocks = matmul_panel_blocks(weights->in);
    int lane = (int)(out_index % LANES);
    size_t block_bytes = matmul_panel_block_bytes(layout);
    const uint8_t *block =
        (const uint8_t *)weights->packed + (size_t)(out_index / LANES * blocks) * block_bytes;
    for (int64_t b = 0; b < blocks; b++, block += block_bytes) {
        if (layout >= MATMUL_LAYOUT_BYTES) {
            struct group group;
            group_get(&group, block, layout, lane);
            for (int k = 0; k < DEPTH; k++)
                row[b * DEPTH + k] = (float)group.quants[k] * group.scale[k / 16] + group.min;
            continue;
        }
        for (int64_t k = b * DEPTH; k < weights->in && k < (b + 1) * DEPTH; k++)
            dtype_dequantize_row(row + k, block + element_offset(layout, lane, (int)(k % DEPTH)),
                                 element, 1);
    }
}
