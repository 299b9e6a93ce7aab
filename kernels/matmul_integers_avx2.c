/* Owns the operands of matmul_integers.h, and which of them a layout has. Needs AVX2, FMA and
 * F16C. */
#include "kernels/matmul_integers.h"

#include "kernels/matmul_avx2.h"
#include "kernels/matmul_input_avx2.h"

INLINE void copy_units(struct matmul_integers_row *row, const float *x, int64_t count, bool nibbles)
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

INLINE void store_pairs(struct matmul_integers_block *to, int pair, int half, __m256i quants)
{
    _mm256_store_si256((__m256i *)to->quants[pair][half * HALF], quants);
}

/* Without a minimum quants of NIBBLES are what they stand for, 8 less. */
INLINE void expand_nibbles(enum matmul_layout layout, struct matmul_integers_block *to,
                           const char *block, int half)
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

INLINE void expand_bytes(struct matmul_integers_block *to, const char *block)
{
    for (int pair = 0; pair < MATMUL_INTEGERS_PAIRS; pair++) {
        const __m128i *at = (const __m128i *)(block + 2 * pair * LANES);
        const __m128i even = _mm_load_si128(at), odd = _mm_load_si128(at + 1);
        store_pairs(to, pair, 0, _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(even, odd)));
        store_pairs(to, pair, 1, _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(even, odd)));
    }
}

INLINE void expand_block(enum matmul_layout layout, struct matmul_integers_block *to,
                         const char *block)
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

#define EXPAND(name, layout)                                                                       \
    static void name(void *operands, const char *block)                                            \
    {                                                                                              \
        expand_block(layout, operands, block);                                                     \
    }
EXPAND(bytes, MATMUL_LAYOUT_BYTES)
EXPAND(nibbles, MATMUL_LAYOUT_NIBBLES)
EXPAND(nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
EXPAND(wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
EXPAND(wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

/* ---- the walk ---- */

static struct matmul_tile_ops ops_of(const struct matmul_integers_tiles *tiles,
                                     enum matmul_layout layout)
{
    return (struct matmul_tile_ops){
        .kept = MATMUL_INTEGERS_KEPT,
        .panels = tiles->panels,
        .row_bytes = sizeof(struct matmul_integers_row),
        .block_bytes = sizeof(struct matmul_integers_block),
        .copy_row = matmul_layout_is_nibbles(layout) ? copy_for_nibbles : copy_for_bytes,
        .expand = {[MATMUL_LAYOUT_BYTES] = bytes,
                   [MATMUL_LAYOUT_NIBBLES] = nibbles,
                   [MATMUL_LAYOUT_NIBBLES_MIN] = nibbles_min,
                   [MATMUL_LAYOUT_WIDE_NIBBLES] = wide_nibbles,
                   [MATMUL_LAYOUT_WIDE_BYTES] = wide_bytes},
        .multiply = layout == MATMUL_LAYOUT_WIDE_BYTES ? tiles->wide
                    : layout == MATMUL_LAYOUT_NIBBLES_MIN || layout == MATMUL_LAYOUT_WIDE_NIBBLES
                        ? tiles->minimum
                        : tiles->scaled,
    };
}

void matmul_integers_walk(const struct matmul_args *args, const struct matmul_integers_tiles *tiles)
{
    const struct matmul_tile_ops ops = ops_of(tiles, matmul_panel_layout(args->weights->dtype));
    matmul_walk(args, &ops);
}

size_t matmul_integers_scratch_bytes(int panels)
{
    const struct matmul_integers_tiles tiles = {.panels = panels};
    const struct matmul_tile_ops ops = ops_of(&tiles, MATMUL_LAYOUT_BYTES);
    return matmul_walk_scratch_bytes(&ops);
}
