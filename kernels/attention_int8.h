/* Keys and values in 8 bits, DTYPE_INT8: what is stored, and what attention to it computes.
 *
 * A row x [head_dim] of keys or values is rotated, y = H x, and stored as whole numbers n[d] of
 * -127..127 and one scale:
 *
 *   scale = max |y| / 127 as the nearest bf16        n[d] = y[d] / scale, to nearest, ties to even
 *
 * so that scale * n[d] is y[d] within scale / 2, and storing what was read stores the same bytes. A
 * row whose scale would be below 2^-126 is stored as zeros; the scale of a row with a NaN or an
 * infinity in it is a NaN. H is the Hadamard matrix of attention_int8_span(head_dim) elements,
 * block by block, orthonormal: symmetric, and its own inverse. It spreads what a few elements hold
 * over all, so that one scale serves them. Rows come as their frame has rotated them, and
 * (H q) . (H k) = q . k in every frame.
 *
 * One head of a record is 64 * head_dim bytes and the rows' scales:
 *
 *   K  [head_dim / 4, 64, 4] uint8, n + 128      V  [16, head_dim, 4] int8, n      both [64] bf16
 *
 * (fours lie along the summed axis.) What attention.h says of calls and states holds, with these
 * differences: queries are float32, acc is of rotated values, and attention_finish rotates back.
 * The reference computes in float32 from what is stored. The fast variants round a rotated query
 * to whole numbers of up to ATTENTION_INT8_QUERY_MOST times its own scale, and a row's
 * probabilities times the values' scales to whole numbers of up to ATTENTION_INT8_WEIGHT_MOST times
 * a scale of the row and panel; both products are exact in int32. With 127 and 255 in their place
 * the divergence from float32 would be twice what it is (docs/decisions/int8-cache.md).
 */
#pragma once

#include <math.h>

#include "kernels/attention.h"

enum {
    ATTENTION_INT8_MOST = 127,
    ATTENTION_INT8_EXCESS = 128, /* of K's bytes */
    ATTENTION_INT8_NAN = 0x7fc0, /* bf16 */
    ATTENTION_INT8_QUERY_MOST = 1 << 13,
    ATTENTION_INT8_WEIGHT_MOST = 1 << 14,
};

/* Elements that H mixes: the largest power of two that divides head_dim. */
static inline int attention_int8_span(int head_dim)
{
    return head_dim & -head_dim;
}

/* y = H x, [head_dim]; in place where they are the same. */
static inline void attention_int8_rotate(float *y, const float *x, int head_dim)
{
    const int span = attention_int8_span(head_dim);
    const float norm = 1 / sqrtf((float)span);
    for (int d = 0; d < head_dim; d++)
        y[d] = x[d] * norm;
    for (int half = 1; half < span; half *= 2)
        for (int first = 0; first < head_dim; first += 2 * half)
            for (int d = first; d < first + half; d++) {
                const float a = y[d], b = y[d + half];
                y[d] = a + b;
                y[d + half] = a - b;
            }
}

/* The largest |y|, a NaN where one of them is not finite. */
static inline float attention_int8_largest(const float *y, int head_dim)
{
    uint32_t most = 0;
    for (int d = 0; d < head_dim; d++) {
        const uint32_t bits = dtype_bits_from_f32(y[d]) & 0x7fffffffu;
        most = bits > most ? bits : most;
    }
    return dtype_f32_from_bits(most < 0x7f800000u ? most : (uint32_t)ATTENTION_INT8_NAN << 16);
}

/* A row's scale as bf16. */
static inline uint16_t attention_int8_scale(const float *y, int head_dim)
{
    const float largest = attention_int8_largest(y, head_dim);
    const uint16_t scale = dtype_bf16_from_f32(largest / ATTENTION_INT8_MOST);
    return scale >= 0x0080 ? scale : 0;
}

/* n[d] of y * inverse, inverse = 1 / scale; 0 is what stands for the inverse of 0 and a NaN. */
static inline int attention_int8_whole(float y, float inverse)
{
    return (int)(dtype_bits_from_f32(y * inverse + 0x1.8p23f) - 0x4b400000u);
}

static inline float attention_int8_inverse(uint16_t scale)
{
    const float value = dtype_f32_from_bf16(scale);
    return value > 0 ? 1 / value : 0;
}

/* What makes whole numbers of up to `most` of those up to `largest`: 0 where that is next to
 * nothing, a NaN where it is one. */
static inline float attention_int8_inverse_of(float most, float largest)
{
    return largest < 0x1p-100f ? 0 : most / largest;
}

/* Where element d of key or value t of a panel is among a head's bytes, and the scales. */
static inline int64_t attention_int8_key(int t, int d)
{
    return (int64_t)(d / 4 * PANEL_TOKENS + t) * 4 + d % 4;
}

static inline int64_t attention_int8_value(int t, int d, int head_dim)
{
    return (int64_t)(t / 4 * head_dim + d) * 4 + t % 4;
}

static inline uint16_t *attention_int8_scales(const void *head, int head_dim)
{
    return (uint16_t *)(void *)((char *)head + (int64_t)PANEL_TOKENS * head_dim);
}
