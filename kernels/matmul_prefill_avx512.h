/* The AVX-512 tiles of matmul_integers.h, but for the one instruction in which CPUs differ: how
 * products of pairs are added up. Needs AVX-512 F, BW and VL. */
#pragma once

#include <string.h>

#include "kernels/matmul_avx512.h"
#include "kernels/matmul_integers.h"
#include "kernels/variants.h"

enum { PAIRS = MATMUL_INTEGERS_PAIRS };

/* sums + the 16 sums of two products of `quants` and `units`, both pairs of 16-bit integers */
typedef __m512i add_products_function(__m512i sums, __m512i quants, __m512i units);

/* ---- a tile ----
 *
 * What multiplies and what scales are functions of their own, so that registers hold the sums of a
 * part and nothing else. */

/* A part of a block of each panel, and the rows that it is multiplied with. */
struct part {
    float total[MATMUL_INTEGERS_PANELS][TILE_ROWS][LANES];
    int32_t counted[MATMUL_INTEGERS_PANELS][TILE_ROWS][LANES]; /* sums of this part */
    const struct matmul_integers_row *rows;
    const struct matmul_integers_block *blocks[MATMUL_INTEGERS_PANELS];
    int64_t block; /* of the rows */
    int first;     /* pair */
};

typedef void part_function(struct part *part);

INLINE void multiply_part(struct part *part, const int panels, int pairs,
                          add_products_function *add)
{
    __m512i tile[TILE_ROWS][MATMUL_INTEGERS_PANELS];
    const struct matmul_integers_row *rows = part->rows;
    const int16_t *units = rows->units[part->block] + 2 * part->first;
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            tile[r][p] = _mm512_setzero_si512();
#pragma GCC unroll 16
    for (int pair = 0; pair < pairs; pair++) {
        __m512i quants[MATMUL_INTEGERS_PANELS];
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            quants[p] = _mm512_loadu_si512(part->blocks[p]->quants[part->first + pair]);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            int32_t both;
            memcpy(&both, (const char *)(units + 2 * pair) + (size_t)r * sizeof *rows, sizeof both);
            const __m512i factors = _mm512_set1_epi32(both);
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++)
                tile[r][p] = add(tile[r][p], quants[p], factors);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            _mm512_store_si512(part->counted[p][r], tile[r][p]);
}

/* total += the part's sums, scaled, and what the minimum adds */
INLINE void add_scaled(struct part *part, int panels, int scale, bool adds_min)
{
    const int64_t b = part->block;
    for (int p = 0; p < panels; p++) {
        const __m512 d = _mm512_loadu_ps(part->blocks[p]->d[scale]);
        const __m512 m = _mm512_loadu_ps(part->blocks[p]->m);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            float *to = part->total[p][r];
            const __m512 sums = _mm512_cvtepi32_ps(_mm512_loadu_si512(part->counted[p][r]));
            __m512 all = _mm512_loadu_ps(to);
            if (adds_min)
                all = _mm512_fmadd_ps(m, _mm512_set1_ps(part->rows[r].sums[b]), all);
            const __m512 unit = _mm512_set1_ps(part->rows[r].unit[b]);
            _mm512_store_ps(to, _mm512_fmadd_ps(sums, _mm512_mul_ps(d, unit), all));
        }
    }
}

static __attribute__((noinline)) void add_part(struct part *part, int panels, int scale)
{
    add_scaled(part, panels, scale, false);
}

static __attribute__((noinline)) void add_part_and_minimum(struct part *part, int panels, int scale)
{
    add_scaled(part, panels, scale, true);
}

INLINE void multiply_parts(const struct matmul_tile *given, int parts, bool has_min,
                           part_function *multiply_one, part_function *multiply_all)
{
    _Alignas(64) struct part part;
    const struct matmul_tile tile = *given; /* else every store to y is followed by reading it */
    part_function *multiply = tile.panels == 1 ? multiply_one : multiply_all;
    memset(part.total, 0, sizeof part.total);
    part.rows = tile.x;
    for (part.block = 0; part.block < tile.count / DEPTH; part.block++) {
        for (int p = 0; p < tile.panels; p++)
            part.blocks[p] = (const struct matmul_integers_block *)tile.weights[p] + part.block;
        for (int scale = 0; scale < parts; scale++) {
            part.first = scale * PAIRS / parts;
            multiply(&part);
            if (has_min && scale == 0)
                add_part_and_minimum(&part, tile.panels, scale);
            else
                add_part(&part, tile.panels, scale);
        }
    }
    for (int r = 0; r < tile.rows; r++)
        for (int p = 0; p < tile.panels; p++)
            put_sums(tile.y + r * tile.y_stride + p * LANES, _mm512_loadu_ps(part.total[p][r]),
                     tile.width - p * LANES, tile.accumulate);
}

#define PART(name, panels, pairs, add)                                                             \
    static __attribute__((noinline)) void name(struct part *part)                                  \
    {                                                                                              \
        multiply_part(part, panels, pairs, add);                                                   \
    }

#define TILE(name, parts, has_min, multiply_one, multiply_all)                                     \
    static void name(const struct matmul_tile *tile)                                               \
    {                                                                                              \
        multiply_parts(tile, parts, has_min, multiply_one, multiply_all);                          \
    }

/* Defines prefill(args) over a variant's add_products. */
#define PREFILL(add)                                                                               \
    PART(one_block, 1, PAIRS, add)                                                                 \
    PART(one_half, 1, PAIRS / 2, add)                                                              \
    PART(all_blocks, MATMUL_INTEGERS_PANELS, PAIRS, add)                                           \
    PART(all_halves, MATMUL_INTEGERS_PANELS, PAIRS / 2, add)                                       \
    TILE(multiply_scaled, 1, false, one_block, all_blocks)                                         \
    TILE(multiply_minimum, 1, true, one_block, all_blocks)                                         \
    TILE(multiply_wide, 2, true, one_half, all_halves)                                             \
    static const struct matmul_integers_tiles tiles = {MATMUL_INTEGERS_PANELS, multiply_scaled,    \
                                                       multiply_minimum, multiply_wide};           \
    INLINE void prefill(const struct matmul_args *args)                                            \
    {                                                                                              \
        if (matmul_layout_has_scale(matmul_panel_layout(args->weights->dtype)))                    \
            matmul_integers_walk(args, &tiles);                                                    \
        else                                                                                       \
            matmul_plain_avx512(args);                                                             \
    }
