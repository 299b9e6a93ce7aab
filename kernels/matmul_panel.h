/* The packed layout of weights that the fast variants of matmul.h share.
 *
 * A matrix is a sequence of panels of MATMUL_SPLIT output rows; a panel is a sequence of blocks,
 * each of all its rows by MATMUL_PANEL_DEPTH elements; a block is its quants and then its scales.
 * Within a block the row is the fastest index, so that a vector lane is an output row and no sum
 * ever runs across lanes. Rows past `out` and elements past `in` are zeros.
 *
 * Of a block with lanes r, elements k, little-endian:
 *
 * | layout       | quants                           | scales          | bytes | holds            |
 * | FLOATS       | f32 [k][r]                       |                 | 2048  | F32, Q2_K        |
 * | HALVES       | f16 [k][r]                       |                 | 1024  | F16              |
 * | PAIRS        | bf16 [k/2][r][k%2]               |                 | 1024  | BF16             |
 * | BYTES        | i8 [k][r]                        | f16 d[r]        | 544   | Q8_0, Q5_0,      |
 * |              |                                  |                 |       | IQ4_NL           |
 * | NIBBLES      | u32 [k/8][r], k at bits 4 (k%8)  | f16 d[r]        | 288   | Q4_0             |
 * | NIBBLES_MIN  | as NIBBLES                       | f16 d[r], m[r]  | 320   | Q4_1             |
 * | WIDE_NIBBLES | as NIBBLES                       | f32 d[r], m[r]  | 384   | Q4_K             |
 * | WIDE_BYTES   | as BYTES                         | f32 d[r] twice, | 704   | Q5_1, Q5_K, Q6_K |
 * |              |                                  | then m[r]       |       | Q3_K, IQ4_XS     |
 *
 * The two d[r] of WIDE_BYTES are those of k < 16 and k >= 16.
 *
 * An element is q d + m, where m = -8 d for NIBBLES and 0 for BYTES; that is exactly the file's
 * value, in float32, for every type: the products of the nested scales of the K types are exact.
 * Beside the file's, bytes are 1.3 times as many for Q4_K, 1.5 for Q5_0, 1.7 for Q6_K, 1.8 for
 * Q5_1, 1.9 for IQ4_NL, 2 for Q5_K, 2.6 for IQ4_XS, 3.2 for Q3_K, 12.2 for Q2_K: whole bytes and
 * float32 scales are quick to read, and decode pays for it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "kernels/matmul.h"

enum { MATMUL_PANEL_DEPTH = 32 };

enum matmul_layout {
    MATMUL_LAYOUT_FLOATS,
    MATMUL_LAYOUT_HALVES,
    MATMUL_LAYOUT_PAIRS,
    MATMUL_LAYOUT_BYTES,
    MATMUL_LAYOUT_NIBBLES,
    MATMUL_LAYOUT_NIBBLES_MIN,
    MATMUL_LAYOUT_WIDE_NIBBLES,
    MATMUL_LAYOUT_WIDE_BYTES,
    MATMUL_LAYOUT_COUNT
};

/* What a kernel asks of a layout that it knows when it is compiled. */
static inline bool matmul_layout_is_nibbles(enum matmul_layout layout)
{
    return layout == MATMUL_LAYOUT_NIBBLES || layout == MATMUL_LAYOUT_NIBBLES_MIN ||
           layout == MATMUL_LAYOUT_WIDE_NIBBLES;
}

static inline bool matmul_layout_has_scale(enum matmul_layout layout)
{
    return layout >= MATMUL_LAYOUT_BYTES;
}

static inline bool matmul_layout_has_min(enum matmul_layout layout)
{
    return layout > MATMUL_LAYOUT_BYTES;
}

enum matmul_layout matmul_panel_layout(enum dtype dtype);

size_t matmul_panel_block_bytes(enum matmul_layout layout);

static inline int64_t matmul_panel_blocks(int64_t in)
{
    return (in + MATMUL_PANEL_DEPTH - 1) / MATMUL_PANEL_DEPTH;
}

static inline int64_t matmul_least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Fetches, while a block of the first of `panels` panels is read, its place in the panels after
 * them: a panel is too short for the hardware to see that another follows. */
static inline void matmul_panel_fetch(const char *block, size_t block_bytes, int panels,
                                      size_t panel_bytes)
{
    enum { CACHE_LINE = 64, SECOND_LEVEL = 2 };
    for (int p = 0; p < panels; p++) {
        const char *at = block + (size_t)(panels + p) * panel_bytes;
        for (size_t offset = 0; offset < block_bytes; offset += CACHE_LINE)
            __builtin_prefetch(at + offset, 0, SECOND_LEVEL);
    }
}

/* The table's matmul_packed_bytes, matmul_pack and matmul_row. */
size_t matmul_panel_packed_bytes(enum dtype dtype, int64_t out, int64_t in);
void matmul_panel_pack(void *packed, const void *rows, enum dtype dtype, int64_t out, int64_t in);
void matmul_panel_row(float *row, const struct matmul_weights *weights, int64_t out_index);
