/* The AVX2 tiles of matmul_integers.h, but for the one instruction in which CPUs differ: how
 * products of pairs are added up. Needs AVX2 and FMA. */
#pragma once

#include <string.h>

#include "kernels/matmul_avx2.h"
#include "kernels/matmul_integers.h"
#include "kernels/variants.h"

enum { TILE_ROWS = MATMUL_TILE_ROWS, PAIRS = MATMUL_INTEGERS_PAIRS };

/* sums + the 8 sums of two products of `quants` and `units`, both pairs of 16-bit integers */
typedef __m256i add_products_function(__m256i sums, __m256i quants, __m256i units);

/* ---- a tile ----
 *
 * What multiplies and what scales are functions of their own, so that registers hold the sums of a
 * part and nothing else. */

/* A part of a block, and the rows that it is multiplied with. */
struct part {
    float total[TILE_ROWS * LANES];
    int32_t counted[TILE_ROWS * LANES]; /* sums of this part */
    const int16_t *units;     /* of the first of TILE_ROWS rows, from the part's first pair on */
    const float *unit, *sums; /* of the first row */
    const int16_t *quants;    /* from the part's first pair on */
    const float *d, *m;
};

typedef void part_function(struct part *part);

INLINE const void *of_row(const void *first, int row)
{
    return (const char *)first + (size_t)row * sizeof(struct matmul_integers_row);
}

INLINE void multiply_part(struct part *part, int pairs, add_products_function *add)
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
INLINE void add_scaled(struct part *part, bool adds_min)
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

static __attribute__((noinline)) void add_part(struct part *part)
{
    add_scaled(part, false);
}

static __attribute__((noinline)) void add_part_and_min(struct part *part)
{
    add_scaled(part, true);
}

INLINE void multiply_parts(const struct matmul_tile *given, int parts, bool has_min,
                           part_function *multiply_pairs)
{
    _Alignas(32) struct part part;
    const struct matmul_tile tile = *given; /* else every store to y is followed by reading it */
    const struct matmul_integers_block *block = tile.weights[0];
    const struct matmul_integers_row *row = tile.x;
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

#define PART(name, pairs, add)                                                                     \
    static __attribute__((noinline)) void name(struct part *part)                                  \
    {                                                                                              \
        multiply_part(part, pairs, add);                                                           \
    }

#define TILE(name, parts, has_min, multiply_pairs)                                                 \
    static void name(const struct matmul_tile *tile)                                               \
    {                                                                                              \
        multiply_parts(tile, parts, has_min, multiply_pairs);                                      \
    }

/* Defines prefill(args) over a variant's add_products. */
#define PREFILL(add)                                                                               \
    PART(multiply_block, PAIRS, add)                                                               \
    PART(multiply_half, PAIRS / 2, add)                                                            \
    TILE(multiply_scaled, 1, false, multiply_block)                                                \
    TILE(multiply_minimum, 1, true, multiply_block)                                                \
    TILE(multiply_wide, 2, true, multiply_half)                                                    \
    static const struct matmul_integers_tiles tiles = {1, multiply_scaled, multiply_minimum,       \
                                                       multiply_wide};                             \
    INLINE void prefill(const struct matmul_args *args)                                            \
    {                                                                                              \
        if (matmul_layout_has_scale(matmul_panel_layout(args->weights->dtype)))                    \
            matmul_integers_walk(args, &tiles);                                                    \
        else                                                                                       \
            matmul_plain_avx2(args);                                                               \
    }
