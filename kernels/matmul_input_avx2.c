/* Owns the input of the decode products: rows of x as floats or as integers, as many at a time as
 * share one reading of the weights. Needs AVX2.
 *
 * Promises that a block's integers, unit and sum come from its own elements alone, in one order. */
#include "kernels/matmul_input_avx2.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/matmul_avx2.h"

enum { ROWS = 8 /* that share one reading of the weights */ };

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

static void load_row(const struct matmul_input *input, int64_t row, const float *x, int64_t in,
                     enum matmul_layout layout)
{
    if (!matmul_layout_has_scale(layout)) {
        float *to = input->x + row * input->stride;
        memcpy(to, x, (size_t)in * sizeof *x);
        memset(to + in, 0, (size_t)(input->stride - in) * sizeof *x);
        return;
    }
    /* Quantised rows are whole blocks. */
    for (int64_t b = 0; b < input->blocks; b++) {
        int64_t at = row * input->blocks + b;
        input->unit[at] = block_units(input->units + row * input->stride + b * MATMUL_PANEL_DEPTH,
                                      x + b * MATMUL_PANEL_DEPTH, matmul_layout_is_nibbles(layout),
                                      &input->sums[at]);
    }
}

static struct matmul_input load_rows(const struct matmul_args *args)
{
    int64_t blocks = matmul_panel_blocks(args->weights->in);
    enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);
    struct matmul_input input = {.x = args->scratch,
                                 .units = args->scratch,
                                 .stride = blocks * MATMUL_PANEL_DEPTH,
                                 .blocks = blocks};
    input.unit = input.x + ROWS * input.stride;
    input.sums = input.unit + ROWS * blocks;
    for (int64_t r = 0; r < args->rows; r++)
        load_row(&input, r, args->x + r * args->x_stride, args->weights->in, layout);
    return input;
}

/* Rows [r, r + rows) of the outputs from o on. out [rows, stride] */
static void put_rows(const struct matmul_args *args, int64_t r, int rows, int64_t o,
                     const float *out, int stride)
{
    for (int i = 0; i < rows; i++)
        put_sums(args->y + (r + i) * args->y_stride + o, out + i * stride,
                 matmul_least(MATMUL_SPLIT, args->out_end - o), args->accumulate);
}

/* The panel from output o on and, where the range goes on, the next one. */
static void multiply_panels(const struct matmul_args *args, const struct matmul_input *input,
                            const struct matmul_passes *passes, int pass_rows, int64_t o)
{
    _Alignas(64) float out[ROWS * MATMUL_SPLIT];
    enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);
    size_t panel_bytes = (size_t)input->blocks * matmul_panel_block_bytes(layout);
    const char *panel =
        (const char *)args->weights->packed + (size_t)(o / MATMUL_SPLIT) * panel_bytes;
    int panels = o + MATMUL_SPLIT < args->out_end ? MATMUL_PASS_PANELS : 1;
    int64_t r = 0;
    for (; r + pass_rows <= args->rows; r += pass_rows)
        for (int p = 0; p < panels; p++) {
            passes[layout].rows(out, panel + (size_t)p * panel_bytes, panel_bytes, input, r);
            put_rows(args, r, pass_rows, o + p * MATMUL_SPLIT, out, MATMUL_SPLIT);
        }
    for (; r < args->rows; r++) {
        (panels == 1 ? passes[layout].one : passes[layout].panels)(out, panel, panel_bytes, input,
                                                                   r);
        for (int p = 0; p < panels; p++)
            put_rows(args, r, 1, o + p * MATMUL_SPLIT, out + p * MATMUL_SPLIT, 0);
    }
}

void matmul_input_walk(const struct matmul_args *args, const struct matmul_passes *passes,
                       int pass_rows)
{
    assert(args->out_first % MATMUL_SPLIT == 0 && pass_rows <= ROWS);
    for (int64_t first = 0; first < args->rows; first += ROWS) {
        struct matmul_args some = *args; /* the rows that fit the scratch */
        some.rows = matmul_least(ROWS, args->rows - first);
        some.x += first * args->x_stride;
        some.y += first * args->y_stride;
        struct matmul_input input = load_rows(&some);
        for (int64_t o = args->out_first; o < args->out_end; o += MATMUL_PASS_PANELS * MATMUL_SPLIT)
            multiply_panels(&some, &input, passes, pass_rows, o);
    }
}

size_t matmul_input_scratch_bytes(const struct kernels_limits *limits)
{
    size_t blocks = (size_t)matmul_panel_blocks(limits->width_max);
    return ROWS * blocks * (MATMUL_PANEL_DEPTH + 2) * sizeof(float);
}
