/* Owns the input of the decode products: tiles of rows of x as floats or as integers. Needs AVX2.
 *
 * Promises that a block's integers, unit and sum come from its own elements alone, in one order. */
#include "kernels/matmul_input_avx2.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/matmul_avx2.h"

enum { ROWS = MATMUL_INPUT_ROWS };

/* ---- integers of quantised weights' rows ---- */

/* Blocks that are turned into integers together: their reductions and units fill registers. */
enum { GROUP = 8 };

typedef __m256 combine_function(__m256 a, __m256 b);

INLINE __m256 sum_of(__m256 a, __m256 b)
{
    return _mm256_add_ps(a, b);
}

INLINE __m256 larger_of(__m256 a, __m256 b)
{
    return _mm256_max_ps(a, b);
}

/* Lane i: all lanes of x[i] combined, lanes 4, 2 and 1 apart. */
INLINE __m256 across_lanes(const __m256 x[GROUP], combine_function *combine)
{
    __m256 four[GROUP / 2], two[GROUP / 4];
#pragma GCC unroll 4
    for (int i = 0; i < GROUP / 2; i++)
        four[i] = combine(_mm256_permute2f128_ps(x[2 * i], x[2 * i + 1], 0x20),
                          _mm256_permute2f128_ps(x[2 * i], x[2 * i + 1], 0x31));
#pragma GCC unroll 2
    for (int i = 0; i < GROUP / 4; i++) {
        __m256d a = _mm256_castps_pd(four[2 * i]), b = _mm256_castps_pd(four[2 * i + 1]);
        two[i] = combine(_mm256_castpd_ps(_mm256_unpacklo_pd(a, b)),
                         _mm256_castpd_ps(_mm256_unpackhi_pd(a, b)));
    }
    __m256 one =
        combine(_mm256_shuffle_ps(two[0], two[1], 0x88), _mm256_shuffle_ps(two[0], two[1], 0xdd));
    return _mm256_permutevar8x32_ps(one, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* The smallest powers of two, not subnormal, of which `largest` has at most INT16_MAX. */
INLINE __m256 smallest_units(__m256 largest)
{
    __m256i bits = _mm256_castps_si256(_mm256_div_ps(largest, _mm256_set1_ps(INT16_MAX)));
    bits = _mm256_add_epi32(bits, _mm256_set1_epi32(0x7fffff));
    bits = _mm256_and_si256(bits, _mm256_set1_epi32(0x7f800000));
    return _mm256_castsi256_ps(_mm256_max_epi32(bits, _mm256_set1_epi32(0x00800000)));
}

/* units [MATMUL_PANEL_DEPTH]: what x [MATMUL_PANEL_DEPTH] counts */
INLINE void count_units(int16_t *units, const float *x, float inverse, bool nibbles)
{
    const __m256 factor = _mm256_set1_ps(inverse);
#pragma GCC unroll 2
    for (int k = 0; k < MATMUL_PANEL_DEPTH; k += 2 * HALF) {
        __m256i low = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + k), factor));
        __m256i high = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + k + HALF), factor));
        __m256i packed = _mm256_packs_epi32(low, high);
        __m128i first = _mm256_castsi256_si128(packed);
        __m128i second = _mm256_extracti128_si256(packed, 1);
        __m128i *to = (__m128i *)(units + k);
        _mm_store_si128(to, nibbles ? _mm_unpacklo_epi16(first, second)
                                    : _mm_unpacklo_epi64(first, second));
        _mm_store_si128(to + 1, nibbles ? _mm_unpackhi_epi16(first, second)
                                        : _mm_unpackhi_epi64(first, second));
    }
}

/* Blocks [b, b + count) of a row x, count <= GROUP. */
INLINE void load_group(struct matmul_units to, const float *x, int64_t b, const int64_t count,
                       bool nibbles)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    float unit[GROUP], inverse[GROUP], sum[GROUP];
    __m256 sums[GROUP] = {0}, largest[GROUP] = {0};
    x += b * MATMUL_PANEL_DEPTH;
#pragma GCC unroll 8
    for (int64_t i = 0; i < count; i++) {
        __m256 total = _mm256_setzero_ps(), most = _mm256_setzero_ps();
#pragma GCC unroll 4
        for (int k = 0; k < MATMUL_PANEL_DEPTH; k += HALF) {
            __m256 value = _mm256_loadu_ps(x + i * MATMUL_PANEL_DEPTH + k);
            total = _mm256_add_ps(total, value);
            most = _mm256_max_ps(most, _mm256_andnot_ps(sign, value));
        }
        sums[i] = total;
        largest[i] = most;
    }
    const __m256 all = across_lanes(sums, sum_of);
    const __m256 units = smallest_units(across_lanes(largest, larger_of));
    const __m256 finite =
        _mm256_cmp_ps(_mm256_andnot_ps(sign, all), _mm256_set1_ps(INFINITY), _CMP_LT_OQ);
    _mm256_storeu_ps(sum, all);
    _mm256_storeu_ps(inverse, _mm256_div_ps(_mm256_set1_ps(1), units));
    _mm256_storeu_ps(unit, _mm256_blendv_ps(_mm256_set1_ps(NAN), units, finite));
#pragma GCC unroll 8
    for (int64_t i = 0; i < count; i++) {
        int64_t at = (b + i) * to.stride;
        to.unit[at] = unit[i];
        to.sums[at] = sum[i];
        count_units(to.units + at * MATMUL_PANEL_DEPTH, x + i * MATMUL_PANEL_DEPTH, inverse[i],
                    nibbles);
    }
}

void matmul_input_units(struct matmul_units to, const float *x, int64_t blocks, bool nibbles)
{
    int64_t b = 0;
    for (; b + GROUP <= blocks; b += GROUP)
        load_group(to, x, b, GROUP, nibbles);
    for (; b < blocks; b++)
        load_group(to, x, b, 1, nibbles);
}

/* ---- the walk ---- */

/* Quantised rows are whole blocks. */
static void load_row(const struct matmul_input *input, int64_t row, const float *x, bool nibbles)
{
    const struct matmul_units to = {input->units + row * MATMUL_PANEL_DEPTH, input->unit + row,
                                    input->sums + row, input->rows};
    matmul_input_units(to, x, input->blocks, nibbles);
}

static void load_plain_row(const struct matmul_input *input, int64_t row, const float *x,
                           int64_t in)
{
    for (int64_t b = 0; b < input->blocks; b++) {
        float *to = input->x + (b * input->rows + row) * MATMUL_PANEL_DEPTH;
        int64_t real = matmul_least(in - b * MATMUL_PANEL_DEPTH, MATMUL_PANEL_DEPTH);
        memcpy(to, x + b * MATMUL_PANEL_DEPTH, (size_t)real * sizeof *x);
        memset(to + real, 0, (size_t)(MATMUL_PANEL_DEPTH - real) * sizeof *x);
    }
}

static struct matmul_input load_rows(const struct matmul_args *args)
{
    int64_t blocks = matmul_panel_blocks(args->weights->in);
    enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);
    struct matmul_input input = {
        .x = args->scratch, .units = args->scratch, .blocks = blocks, .rows = args->rows};
    input.unit = input.x + ROWS * blocks * MATMUL_PANEL_DEPTH;
    input.sums = input.unit + ROWS * blocks;
    for (int64_t r = 0; r < args->rows; r++) {
        const float *x = args->x + r * args->x_stride;
        if (matmul_layout_has_scale(layout))
            load_row(&input, r, x, matmul_layout_is_nibbles(layout));
        else
            load_plain_row(&input, r, x, args->weights->in);
    }
    return input;
}

/* Does the rows of a tile from pass->row on, `left` or fewer; how many. */
static int run_next(struct matmul_pass *pass, const struct matmul_passes *passes,
                    enum matmul_layout layout, int64_t left)
{
    if (passes->many[layout] && left >= MATMUL_MANY_ROWS) {
        pass->rows = (int)left;
        passes->many[layout](pass);
        return pass->rows;
    }
    pass->rows = matmul_layout_has_scale(layout) ? passes->quantised_rows : passes->plain_rows;
    while (pass->rows > left)
        pass->rows /= 2;
    passes->runs[layout](pass);
    return pass->rows;
}

/* `panels` panels from output o on. */
static void multiply_panels(const struct matmul_args *args, const struct matmul_input *input,
                            const struct matmul_passes *passes, int64_t o, int panels)
{
    _Alignas(64) float out[ROWS * MATMUL_PASS_PANELS * MATMUL_SPLIT]; /* [rows, panels, SPLIT] */
    const enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);
    struct matmul_pass pass = {
        .out_stride = panels * MATMUL_SPLIT, .input = input, .panels = panels};
    pass.panel_bytes = (size_t)input->blocks * matmul_panel_block_bytes(layout);
    pass.panel =
        (const char *)args->weights->packed + (size_t)(o / MATMUL_SPLIT) * pass.panel_bytes;
    while (pass.row < input->rows) {
        pass.out = out + pass.row * pass.out_stride;
        pass.row += run_next(&pass, passes, layout, input->rows - pass.row);
    }
    const float *sums = out;
    for (int64_t r = 0; r < input->rows; r++)
        for (int p = 0; p < panels; p++, sums += MATMUL_SPLIT) {
            const int64_t at = o + p * MATMUL_SPLIT;
            put_sums(args->y + r * args->y_stride + at, sums,
                     matmul_least(MATMUL_SPLIT, args->out_end - at), args->accumulate);
        }
}

void matmul_input_walk(const struct matmul_args *args, const struct matmul_passes *passes)
{
    assert(args->out_first % MATMUL_SPLIT == 0);
    struct matmul_args tile = *args;
    for (int64_t left = args->rows; left > 0; left -= tile.rows) {
        tile.rows = matmul_least(ROWS, left);
        struct matmul_input input = load_rows(&tile);
        int panels = MATMUL_PASS_PANELS;
        for (int64_t o = args->out_first; o < args->out_end; o += panels * MATMUL_SPLIT) {
            panels = o + MATMUL_SPLIT < args->out_end ? MATMUL_PASS_PANELS : 1;
            multiply_panels(&tile, &input, passes, o, panels);
        }
        tile.x += tile.rows * args->x_stride;
        tile.y += tile.rows * args->y_stride;
    }
}

size_t matmul_input_scratch_bytes(const struct kernels_limits *limits)
{
    size_t blocks = (size_t)matmul_panel_blocks(limits->width_max);
    return ROWS * blocks * (MATMUL_PANEL_DEPTH + 2) * sizeof(float);
}
