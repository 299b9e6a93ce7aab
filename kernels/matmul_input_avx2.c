/* Owns the input of the decode products: tiles of rows of x as floats or as integers. Needs AVX2.
 *
 * Promises that a block's integers, unit and sum come from its own elements alone, in one order. */
#include "kernels/matmul_input_avx2.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/matmul_avx2.h"

enum { ROWS = MATMUL_INPUT_ROWS };

static float sum_lanes(__m256 x)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static float largest_lane(__m256 x)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

/* The smallest power of two, not subnormal, of which `largest` has at most INT16_MAX. */
static float smallest_unit(float largest)
{
    float unit = largest / INT16_MAX;
    uint32_t bits;
    memcpy(&bits, &unit, sizeof bits);
    bits = (bits + 0x7fffff) & 0x7f800000;
    bits = bits > 0x00800000 ? bits : 0x00800000;
    memcpy(&unit, &bits, sizeof unit);
    return unit;
}

/* units [MATMUL_PANEL_DEPTH] of x [MATMUL_PANEL_DEPTH], and what they count; sum: of x */
static float block_units(int16_t *units, const float *x, bool nibbles, float *sum)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 sums = _mm256_setzero_ps(), largest = _mm256_setzero_ps();
    for (int k = 0; k < MATMUL_PANEL_DEPTH; k += HALF) {
        __m256 value = _mm256_loadu_ps(x + k);
        sums = _mm256_add_ps(sums, value);
        largest = _mm256_max_ps(largest, _mm256_andnot_ps(sign, value));
    }
    *sum = sum_lanes(sums);
    float unit = smallest_unit(largest_lane(largest));
    const __m256 inverse = _mm256_set1_ps(1 / unit);
    for (int k = 0; k < MATMUL_PANEL_DEPTH; k += HALF) {
        __m256i counts = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + k), inverse));
        __m128i packed =
            _mm_packs_epi32(_mm256_castsi256_si128(counts), _mm256_extracti128_si256(counts, 1));
        if (nibbles)
            packed = _mm_unpacklo_epi16(packed, _mm_srli_si128(packed, 8));
        _mm_store_si128((__m128i *)(units + k), packed);
    }
    return isfinite(*sum) ? unit : NAN;
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

/* Quantised rows are whole blocks. */
static void load_row(const struct matmul_input *input, int64_t row, const float *x, bool nibbles)
{
    for (int64_t b = 0; b < input->blocks; b++) {
        int64_t at = b * input->rows + row;
        input->unit[at] = block_units(input->units + at * MATMUL_PANEL_DEPTH,
                                      x + b * MATMUL_PANEL_DEPTH, nibbles, &input->sums[at]);
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
    pass.rows = matmul_layout_has_scale(layout) ? passes->quantised_rows : passes->plain_rows;
    for (; pass.row < input->rows; pass.row += pass.rows) {
        while (pass.rows > input->rows - pass.row)
            pass.rows /= 2;
        pass.out = out + pass.row * pass.out_stride;
        passes->runs[layout](&pass);
    }
    for (int64_t i = 0; i < input->rows * panels; i++) {
        int64_t at = o + i % panels * MATMUL_SPLIT;
        put_sums(args->y + i / panels * args->y_stride + at, out + i * MATMUL_SPLIT,
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
