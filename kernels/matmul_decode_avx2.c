/* Owns the decode products of matmul_decode_avx2.h for CPUs without AVX-VNNI: products of pairs and
 * their addition are two instructions.
 *
 * Bytes take so long to unpack that many rows do it together: a block goes to memory once, where
 * the first-level cache keeps it, and up to TILE_ROWS rows at a time hold their sums in registers.
 * Sums are exact, and are scaled and added in the sequence in which a pass of few rows does it, so
 * a row's bits are the same. */
#include "kernels/matmul_decode_avx2.h"
#include "kernels/variants.h"

enum { TILE_ROWS = 6, TILE_ROWS_LEAST = 4, ROWS_MOST = MATMUL_INPUT_ROWS };

INLINE __m256i add_products(__m256i sums, __m256i quants, __m256i units)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(quants, units));
}

/* ---- many rows ---- */

/* A block of a panel, and the sums of a part of it. */
struct unpacked {
    int16_t quants[PAIRS][LANES][2];
    int32_t sums[ROWS_MOST][LANES];
};

INLINE void unpack(enum matmul_layout layout, struct unpacked *to, const char *block)
{
#pragma GCC unroll 16
    for (int j = 0; j < PAIRS; j++) {
        __m256i quants[2];
        load_pairs(layout, quants, block + (size_t)(j / 4) * eight_bytes(layout), j % 4);
        _mm256_store_si256((__m256i *)to->quants[j][0], quants[0]);
        _mm256_store_si256((__m256i *)to->quants[j][HALF], quants[1]);
    }
}

/* sums [rows, LANES] = units [rows, DEPTH] times quants, over `pairs` of them */
INLINE void sum_tile(int32_t *sums, const int16_t *quants, const int16_t *units, const int rows,
                     const int pairs)
{
    __m256i tile[TILE_ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        tile[r][0] = tile[r][1] = _mm256_setzero_si256();
#pragma GCC unroll 16
    for (int j = 0; j < pairs; j++) {
        const __m256i low = _mm256_load_si256((const __m256i *)(quants + j * 2 * LANES));
        const __m256i high = _mm256_load_si256((const __m256i *)(quants + j * 2 * LANES + LANES));
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256i pair = load_units(units + r * DEPTH + 2 * j);
            tile[r][0] = add_products(tile[r][0], low, pair);
            tile[r][1] = add_products(tile[r][1], high, pair);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        _mm256_store_si256((__m256i *)(sums + r * LANES), tile[r][0]);
        _mm256_store_si256((__m256i *)(sums + r * LANES + HALF), tile[r][1]);
    }
}

/* Functions of their own, so that registers hold the sums and nothing else. */
typedef void sum_function(int32_t *sums, const int16_t *quants, const int16_t *units);

#define SUM(name, rows, pairs)                                                                     \
    static __attribute__((noinline)) void name(int32_t *sums, const int16_t *quants,               \
                                               const int16_t *units)                               \
    {                                                                                              \
        sum_tile(sums, quants, units, rows, pairs);                                                \
    }
SUM(block_of_4, 4, PAIRS)
SUM(block_of_5, 5, PAIRS)
SUM(block_of_6, 6, PAIRS)
SUM(half_of_4, 4, PAIRS / 2)
SUM(half_of_5, 5, PAIRS / 2)
SUM(half_of_6, 6, PAIRS / 2)

/* [parts - 1][rows - TILE_ROWS_LEAST] */
static sum_function *const sums_of[2][TILE_ROWS - TILE_ROWS_LEAST + 1] = {
    {block_of_4, block_of_5, block_of_6},
    {half_of_4, half_of_5, half_of_6},
};

/* A part of a block, for all rows: in tiles that differ by a row at most. */
static void sum_rows(struct unpacked *unpacked, const int16_t *units, int rows, int part, int parts)
{
    const int16_t *quants = unpacked->quants[part * PAIRS / parts][0];
    units += part * DEPTH / parts;
    int r = 0;
    for (int tiles = (rows + TILE_ROWS - 1) / TILE_ROWS; tiles > 0; tiles--) {
        const int count = (rows - r + tiles - 1) / tiles;
        sums_of[parts - 1][count - TILE_ROWS_LEAST](unpacked->sums[r], quants, units + r * DEPTH);
        r += count;
    }
}

/* As scale_sums, of sums in memory. */
INLINE void scale_rows(enum matmul_layout layout, const struct matmul_pass *pass,
                       const struct unpacked *from, const char *block, int part, int64_t at)
{
    const bool adds_min = matmul_layout_has_min(layout) && part == parts_of(layout) - 1;
    const float *unit = pass->input->unit + at, *sum = pass->input->sums + at;
    const int64_t stride = pass->out_stride;
    const int rows = pass->rows;
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const struct scales scales = load_scales(layout, block, h);
        float *to = pass->out + h * HALF;
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++, to += stride) {
            const __m256i sums = _mm256_load_si256((const __m256i *)(from->sums[r] + h * HALF));
            const __m256 d = _mm256_mul_ps(scales.d[part], _mm256_broadcast_ss(unit + r));
            __m256 total = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), d, _mm256_load_ps(to));
            if (adds_min)
                total = _mm256_fmadd_ps(scales.m, _mm256_broadcast_ss(sum + r), total);
            _mm256_store_ps(to, total);
        }
    }
}

INLINE void panel_rows(enum matmul_layout layout, const struct matmul_pass *pass)
{
    _Alignas(64) struct unpacked unpacked;
    const size_t block_bytes = matmul_panel_block_bytes(layout);
    const int parts = parts_of(layout);
    const char *block = pass->panel;
    int64_t at = pass->row;
    for (int64_t b = 0; b < pass->input->blocks; b++, at += pass->input->rows) {
        matmul_panel_fetch(block, block_bytes, 1, pass->panel_bytes);
        unpack(layout, &unpacked, block);
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            sum_rows(&unpacked, pass->input->units + at * DEPTH, pass->rows, part, parts);
            scale_rows(layout, pass, &unpacked, block, part, at);
        }
        block += block_bytes;
    }
}

INLINE void many_rows(enum matmul_layout layout, struct matmul_pass pass)
{
    memset(pass.out, 0, (size_t)(pass.rows * pass.out_stride) * sizeof *pass.out);
    for (int p = 0; p < pass.panels; p++, pass.out += LANES, pass.panel += pass.panel_bytes)
        panel_rows(layout, &pass);
}

static void many_bytes(const struct matmul_pass *pass)
{
    many_rows(MATMUL_LAYOUT_BYTES, *pass);
}

static void many_wide_bytes(const struct matmul_pass *pass)
{
    many_rows(MATMUL_LAYOUT_WIDE_BYTES, *pass);
}

MATMUL_RUNS(
    add_products, [MATMUL_LAYOUT_BYTES] = many_bytes, [MATMUL_LAYOUT_WIDE_BYTES] = many_wide_bytes)

void matmul_decode_avx2(const struct matmul_args *args)
{
    matmul_input_walk(args, &passes);
}
