/* The AVX2 prefill products of matmul.h with quantised weights, but for the one instruction in which
 * CPUs differ: how products of pairs are added up. Needs AVX2, FMA and F16C.
 *
 * Weights are multiplied as the integers they are, with x as matmul_input_avx2.h's integers: one
 * instruction multiplies twice as many of them as of floats. A block's sums are exact; they are
 * scaled and added up in float32, block after block, as matmul_walk.h says; what a minimum adds is
 * its product with the block's sum of x. */
#pragma once

#include <string.h>

#include "kernels/matmul_avx2.h"
#include "kernels/matmul_input_avx2.h"
#include "kernels/matmul_walk.h"
#include "kernels/variants.h"

enum {
    TILE_ROWS = MATMUL_TILE_ROWS,
    KEPT = 256,
    KEPT_BLOCKS = KEPT / DEPTH,
    PAIRS = DEPTH / 2,
};

/* Operands of KEPT elements of a row of x. */
struct integers_row {
    int16_t units[KEPT_BLOCKS][DEPTH]; /* in pairs, as those of the weights */
    float unit[KEPT_BLOCKS];
    float sums[KEPT_BLOCKS];
};

/* Operands of a block: an element is quant * d[part] + m. */
struct integers_block {
    int16_t quants[PAIRS][LANES][2];
    float d[2][LANES];
    float m[LANES];
};

_Static_assert(sizeof(struct integers_row) <= KEPT * sizeof(float) &&
                   sizeof(struct integers_block) <= DEPTH * LANES * sizeof(float),
               "the scratch of plain weights holds them");

/* sums + the 8 sums of two products of `quants` and `units`, both pairs of 16-bit integers */
typedef __m256i add_products_function(__m256i sums, __m256i quants, __m256i units);

/* ---- operands ---- */

INLINE void copy_units(struct integers_row *row, const float *x, int64_t count, bool nibbles)
{
    const struct matmul_units to = {row->units[0], row->unit, row->sums, 1};
    matmul_input_units(to, x, count / DEPTH, nibbles);
}

/* Quantised rows are whole blocks: real = count. */
static void copy_for_bytes(void *row, const float *x, int64_t real, int64_t count)
{
    (void)real;
    copy_units(row, x, count, false);
}

static void copy_for_nibbles(void *row, const float *x, int64_t real, int64_t count)
{
    (void)real;
    copy_units(row, x, count, true);
}

INLINE void store_pairs(struct integers_block *to, int pair, int half, __m256i quants)
{
    _mm256_store_si256((__m256i *)to->quants[pair][half * HALF], quants);
}

/* Without a minimum quants of NIBBLES are what they stand for, 8 less. */
INLINE void expand_nibbles(enum matmul_layout layout, struct integers_block *to, const char *block,
                           int half)
{
    const __m256i less = _mm256_set1_epi16(layout == MATMUL_LAYOUT_NIBBLES ? 8 : 0);
    for (int eight = 0; eight < DEPTH / 8; eight++) {
        const __m256i nibbles = load_nibbles(block, half, 8 * eight);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const __m256i quants =
                _mm256_and_si256(_mm256_srli_epi16(nibbles, 4 * j), _mm256_set1_epi16(15));
            store_pairs(to, 4 * eight + j, half, _mm256_sub_epi16(quants, less));
        }
    }
}

INLINE void expand_bytes(struct integers_block *to, const char *block)
{
    for (int pair = 0; pair < PAIRS; pair++) {
        const __m128i *at = (const __m128i *)(block + 2 * pair * LANES);
        const __m128i even = _mm_load_si128(at), odd = _mm_load_si128(at + 1);
        store_pairs(to, pair, 0, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
        store_pairs(to, pair, 1, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
    }
}

INLINE void expand_block(enum matmul_layout layout, struct integers_block *to, const char *block)
{
    if (!matmul_layout_is_nibbles(layout))
        expand_bytes(to, block);
    for (int half = 0; half < 2; half++) {
        if (matmul_layout_is_nibbles(layout))
            expand_nibbles(layout, to, block, half);
        const struct scales scales = load_scales(layout, block, half);
        for (int part = 0; part < 2; part++)
            _mm256_store_ps(to->d[part] + half * HALF, scales.d[part]);
        _mm256_store_ps(to->m + half * HALF, scales.m);
    }
}

#define INTEGERS_EXPAND(name, layout)                                                              \
    static void name(void *operands, const char *block)                                            \
    {                                                                                              \
        expand_block(layout, operands, block);                                                     \
    }
INTEGERS_EXPAND(expand_a_bytes, MATMUL_LAYOUT_BYTES)
INTEGERS_EXPAND(expand_a_nibbles, MATMUL_LAYOUT_NIBBLES)
INTEGERS_EXPAND(expand_a_nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
INTEGERS_EXPAND(expand_a_wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
INTEGERS_EXPAND(expand_a_wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

/* ---- a tile ----
 *
 * What multiplies and what scales are functions of their own, so that registers hold the sums of a
 * part and nothing else. */

/* A part of a block, and the rows that it is multiplied with. */
struct integers_part {
    float total[TILE_ROWS * LANES];
    int32_t counted[TILE_ROWS * LANES]; /* sums of this part */
    const int16_t *units;     /* of the first of TILE_ROWS rows, from the part's first pair on */
    const float *unit, *sums; /* of the first row */
    const int16_t *quants;    /* from the part's first pair on */
    const float *d, *m;
};

typedef void part_function(struct integers_part *part);

INLINE const void *of_row(const void *first, int row)
{
    return (const char *)first + (size_t)row * sizeof(struct integers_row);
}

INLINE void multiply_part(struct integers_part *part, int pairs, add_products_function *add)
{
    __m256i tile[TILE_ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
        tile[r][0] = tile[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (int pair = 0; pair < pairs; pair++) {
        const int16_t *at = part->quants + pair * 2 * LANES;
        const __m256i low = _mm256_load_si256((const __m256i *)at);
        const __m256i high = _mm256_load_si256((const __m256i *)(at + 2 * HALF));
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            int32_t both;
            memcpy(&both, of_row(part->units + 2 * pair, r), sizeof both);
            const __m256i factors = _mm256_set1_epi32(both);
            tile[r][0] = add(tile[r][0], low, factors);
            tile[r][1] = add(tile[r][1], high, factors);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) {
        _mm256_store_si256((__m256i *)(part->counted + r * LANES), tile[r][0]);
        _mm256_store_si256((__m256i *)(part->counted + r * LANES + HALF), tile[r][1]);
    }
}

/* total += the part's sums, scaled, and what the minimum adds */
INLINE void add_scaled(struct integers_part *part, bool adds_min)
{
#pragma GCC unroll 2
    for (int at = 0; at < LANES; at += HALF) {
        const __m256 d = _mm256_load_ps(part->d + at);
        const __m256 m = _mm256_load_ps(part->m + at);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            float *to = part->total + r * LANES + at;
            const __m256i sums =
                _mm256_load_si256((const __m256i *)(part->counted + r * LANES + at));
            __m256 all = _mm256_load_ps(to);
            if (adds_min)
                all = _mm256_fmadd_ps(m, _mm256_broadcast_ss(of_row(part->sums, r)), all);
            const __m256 scale = _mm256_mul_ps(d, _mm256_broadcast_ss(of_row(part->unit, r)));
            _mm256_store_ps(to, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, all));
        }
    }
}

static __attribute__((noinline)) void add_part(struct integers_part *part)
{
    add_scaled(part, false);
}

static __attribute__((noinline)) void add_part_and_min(struct integers_part *part)
{
    add_scaled(part, true);
}

INLINE void multiply_tile(const struct matmul_tile *given, int parts, bool has_min,
                          part_function *multiply_pairs)
{
    _Alignas(32) struct integers_part part;
    const struct matmul_tile tile = *given; /* else every store to y is followed by reading it */
    const struct integers_block *block = tile.weights[0];
    const struct integers_row *row = tile.x;
    memset(part.total, 0, sizeof part.total);
    for (int64_t b = 0; b < tile.count / DEPTH; b++, block++)
        for (int p = 0; p < parts; p++) {
            const int pair = p * PAIRS / parts;
            part.units = row->units[b] + 2 * pair;
            part.unit = &row->unit[b];
            part.sums = &row->sums[b];
            part.quants = block->quants[pair][0];
            part.d = block->d[p];
            part.m = block->m;
            multiply_pairs(&part);
            if (has_min && p == 0)
                add_part_and_min(&part);
            else
                add_part(&part);
        }
    for (int r = 0; r < tile.rows; r++)
        put_sums(tile.y + r * tile.y_stride, part.total + r * LANES, tile.width, tile.accumulate);
}

/* ---- what a variant has ---- */

#define INTEGERS_OPS(name, copy, layout, expand_layout, run)                                       \
    static const struct matmul_tile_ops name = {                                                   \
        .kept = KEPT,                                                                              \
        .panels = 1,                                                                               \
        .row_bytes = sizeof(struct integers_row),                                                  \
        .block_bytes = sizeof(struct integers_block),                                              \
        .copy_row = copy,                                                                          \
        .expand = {[layout] = expand_layout},                                                      \
        .multiply = run,                                                                           \
    };

#define INTEGERS_PART(name, pairs, add)                                                            \
    static __attribute__((noinline)) void name(struct integers_part *part)                         \
    {                                                                                              \
        multiply_part(part, pairs, add);                                                           \
    }

#define INTEGERS_TILE(name, parts, has_min, multiply_pairs)                                        \
    static void name(const struct matmul_tile *tile)                                               \
    {                                                                                              \
        multiply_tile(tile, parts, has_min, multiply_pairs);                                       \
    }

/* Defines the ops of all quantised layouts over a variant's add_products, and prefill(args). */
#define INTEGERS_RUNS(add)                                                                         \
    INTEGERS_PART(multiply_block, PAIRS, add)                                                      \
    INTEGERS_PART(multiply_half, PAIRS / 2, add)                                                   \
    INTEGERS_TILE(multiply_scaled, 1, false, multiply_block)                                       \
    INTEGERS_TILE(multiply_min, 1, true, multiply_block)                                           \
    INTEGERS_TILE(multiply_wide, 2, true, multiply_half)                                           \
    INTEGERS_OPS(bytes, copy_for_bytes, MATMUL_LAYOUT_BYTES, expand_a_bytes, multiply_scaled)      \
    INTEGERS_OPS(nibbles, copy_for_nibbles, MATMUL_LAYOUT_NIBBLES, expand_a_nibbles,               \
                 multiply_scaled)                                                                  \
    INTEGERS_OPS(nibbles_min, copy_for_nibbles, MATMUL_LAYOUT_NIBBLES_MIN, expand_a_nibbles_min,   \
                 multiply_min)                                                                     \
    INTEGERS_OPS(wide_nibbles, copy_for_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES,                       \
                 expand_a_wide_nibbles, multiply_min)                                              \
    INTEGERS_OPS(wide_bytes, copy_for_bytes, MATMUL_LAYOUT_WIDE_BYTES, expand_a_wide_bytes,        \
                 multiply_wide)                                                                    \
    static const struct matmul_tile_ops *const integers_ops[MATMUL_LAYOUT_COUNT] = {               \
        [MATMUL_LAYOUT_BYTES] = &bytes,                                                            \
        [MATMUL_LAYOUT_NIBBLES] = &nibbles,                                                        \
        [MATMUL_LAYOUT_NIBBLES_MIN] = &nibbles_min,                                                \
        [MATMUL_LAYOUT_WIDE_NIBBLES] = &wide_nibbles,                                              \
        [MATMUL_LAYOUT_WIDE_BYTES] = &wide_bytes,                                                  \
    };                                                                                             \
    INLINE void prefill(const struct matmul_args *args)                                            \
    {                                                                                              \
        const enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);               \
        if (integers_ops[layout])                                                                  \
            matmul_walk(args, integers_ops[layout]);                                               \
        else                                                                                       \
            matmul_plain_avx2(args);                                                               \
    }
