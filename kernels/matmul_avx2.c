/* Owns the AVX2 products of matmul.h over the panels of matmul_panel.h. Needs AVX2, FMA and F16C.
 *
 * Prefill: for KEPT elements of k at a time, x is copied into dense rows and each panel is expanded
 * to float32, which fits the first-level cache, and TILE_ROWS x 16 sums stay in registers. Neither
 * x nor the weights are rounded to bf16: float32 costs nothing here. Decode: a panel's quants are
 * multiplied as small integers and scaled once a block; what a minimum adds is its product with the
 * block's sum of x.
 *
 * Promises the orders over k: prefill sums KEPT elements one after the other and adds these parts
 * in ascending order; decode sums each block in two chains, k mod 2, and adds blocks in ascending
 * order. No other row, column or cut of the output has a part in them. */
#include "kernels/variants.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/matmul_panel.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = MATMUL_SPLIT,
    HALF = LANES / 2, /* lanes of a register */
    DEPTH = MATMUL_PANEL_DEPTH,
    TILE_ROWS = 6,
    KEPT = 256,
    CHAINS = 2,
    DECODE_ROWS = 8, /* rows that share one reading of the weights */
};

_Static_assert(KERNELS_ROWS_MAX % TILE_ROWS == 0, "x scratch holds whole tiles");

/* Of HALF rows of a block: an element is quant * d[k / 16] + m. */
struct scales {
    __m256 d[2];
    __m256 m;
};

INLINE __m256 load_f16(const char *at)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)at));
}

INLINE __m256 load_f32(const char *at)
{
    return _mm256_load_ps((const float *)at);
}

INLINE struct scales load_scales(enum matmul_layout layout, const char *block, int half)
{
    struct scales scales = {{_mm256_set1_ps(1), _mm256_set1_ps(1)}, _mm256_setzero_ps()};
    if (!matmul_layout_has_scale(layout))
        return scales;
    const char *at = block + DEPTH * LANES / (matmul_layout_is_nibbles(layout) ? 2 : 1);
    if (layout == MATMUL_LAYOUT_WIDE_BYTES) {
        at += half * HALF * 4;
        scales.d[0] = load_f32(at);
        scales.d[1] = load_f32(at + LANES * 4);
        scales.m = load_f32(at + LANES * 8);
        return scales;
    }
    if (layout == MATMUL_LAYOUT_WIDE_NIBBLES) {
        at += half * HALF * 4;
        scales.d[0] = scales.d[1] = load_f32(at);
        scales.m = load_f32(at + LANES * 4);
        return scales;
    }
    at += half * HALF * 2;
    scales.d[0] = scales.d[1] = load_f16(at);
    if (layout == MATMUL_LAYOUT_NIBBLES)
        scales.m = _mm256_mul_ps(scales.d[0], _mm256_set1_ps(-8));
    if (layout == MATMUL_LAYOUT_NIBBLES_MIN)
        scales.m = load_f16(at + LANES * 2);
    return scales;
}

/* The quants of element k of HALF rows, for the layouts that are no nibbles. */
INLINE __m256 load_quants(enum matmul_layout layout, const char *block, int half, int k)
{
    if (layout == MATMUL_LAYOUT_FLOATS)
        return load_f32(block + (k * LANES + half * HALF) * 4);
    if (layout == MATMUL_LAYOUT_HALVES)
        return load_f16(block + (k * LANES + half * HALF) * 2);
    if (layout == MATMUL_LAYOUT_PAIRS) {
        const char *at = block + (k / 2 * LANES + half * HALF) * 4;
        __m256i pairs = _mm256_load_si256((const __m256i *)at);
        __m256i high = _mm256_set1_epi32((int)0xffff0000);
        return _mm256_castsi256_ps(k % 2 == 0 ? _mm256_slli_epi32(pairs, 16)
                                              : _mm256_and_si256(pairs, high));
    }
    const char *at = block + k * LANES + half * HALF;
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)at)));
}

INLINE __m256i load_nibbles(const char *block, int half, int k)
{
    return _mm256_load_si256((const __m256i *)(block + (k / 8 * LANES + half * HALF) * 4));
}

/* ---- prefill ---- */

/* weights [DEPTH, LANES] */
INLINE void expand_block(enum matmul_layout layout, float *weights, const char *block)
{
    for (int half = 0; half < 2; half++) {
        struct scales scales = load_scales(layout, block, half);
        float *at = weights + half * HALF;
        if (matmul_layout_is_nibbles(layout)) {
            for (int k = 0; k < DEPTH; k += 8) {
                __m256i nibbles = load_nibbles(block, half, k);
#pragma GCC unroll 8
                for (int j = 0; j < 8; j++) {
                    __m256i quants =
                        _mm256_and_si256(_mm256_srli_epi32(nibbles, 4 * j), _mm256_set1_epi32(15));
                    _mm256_store_ps(
                        at + (k + j) * LANES,
                        _mm256_fmadd_ps(_mm256_cvtepi32_ps(quants), scales.d[0], scales.m));
                }
            }
            continue;
        }
#pragma GCC unroll 8
        for (int k = 0; k < DEPTH; k++) {
            __m256 value = load_quants(layout, block, half, k);
            if (matmul_layout_has_min(layout))
                value = _mm256_fmadd_ps(value, scales.d[k / 16], scales.m);
            else if (matmul_layout_has_scale(layout))
                value = _mm256_mul_ps(value, scales.d[0]);
            _mm256_store_ps(at + k * LANES, value);
        }
    }
}

typedef void expand_function(float *weights, const char *block);

#define EXPAND(name, layout)                                                                       \
    static void name(float *weights, const char *block)                                            \
    {                                                                                              \
        expand_block(layout, weights, block);                                                      \
    }
EXPAND(expand_floats, MATMUL_LAYOUT_FLOATS)
EXPAND(expand_halves, MATMUL_LAYOUT_HALVES)
EXPAND(expand_pairs, MATMUL_LAYOUT_PAIRS)
EXPAND(expand_bytes, MATMUL_LAYOUT_BYTES)
EXPAND(expand_nibbles, MATMUL_LAYOUT_NIBBLES)
EXPAND(expand_nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
EXPAND(expand_wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
EXPAND(expand_wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

static expand_function *const expanders[MATMUL_LAYOUT_COUNT] = {
    expand_floats,  expand_halves,      expand_pairs,        expand_bytes,
    expand_nibbles, expand_nibbles_min, expand_wide_nibbles, expand_wide_bytes,
};

/* sums [TILE_ROWS, LANES] = x [TILE_ROWS, KEPT] times weights [count, LANES], over count <= KEPT */
static void multiply_tile(float *sums, const float *x, const float *weights, int64_t count)
{
    __m256 tile[TILE_ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
        tile[r][0] = tile[r][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < count; k++) {
        __m256 low = _mm256_load_ps(weights + k * LANES);
        __m256 high = _mm256_load_ps(weights + k * LANES + HALF);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            __m256 factor = _mm256_broadcast_ss(x + r * KEPT + k);
            tile[r][0] = _mm256_fmadd_ps(factor, low, tile[r][0]);
            tile[r][1] = _mm256_fmadd_ps(factor, high, tile[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++) {
        _mm256_store_ps(sums + r * LANES, tile[r][0]);
        _mm256_store_ps(sums + r * LANES + HALF, tile[r][1]);
    }
}

/* y [count] = or += sums [LANES], count <= LANES */
static void put_sums(float *y, const float *sums, int64_t count, bool accumulate)
{
    if (count == LANES) {
        __m256 low = _mm256_load_ps(sums), high = _mm256_load_ps(sums + HALF);
        if (accumulate) {
            low = _mm256_add_ps(_mm256_loadu_ps(y), low);
            high = _mm256_add_ps(_mm256_loadu_ps(y + HALF), high);
        }
        _mm256_storeu_ps(y, low);
        _mm256_storeu_ps(y + HALF, high);
        return;
    }
    for (int64_t o = 0; o < count; o++)
        y[o] = accumulate ? y[o] + sums[o] : sums[o];
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Copies elements [first, first + count) of every row, zeros where x ends and up to whole tiles.
 * kept [rows, KEPT] */
static void keep_rows(float *kept, const struct matmul_args *args, int64_t first, int64_t count)
{
    int64_t tiles = (args->rows + TILE_ROWS - 1) / TILE_ROWS;
    int64_t real = least(count, args->weights->in - first);
    for (int64_t r = 0; r < tiles * TILE_ROWS; r++, kept += KEPT) {
        int64_t copied = r < args->rows ? real : 0;
        if (copied > 0)
            memcpy(kept, args->x + r * args->x_stride + first, (size_t)copied * sizeof *kept);
        memset(kept + copied, 0, (size_t)(count - copied) * sizeof *kept);
    }
}

/* One panel's columns: y [rows, width] = or += kept [rows, KEPT] times weights [count, LANES] */
static void multiply_panel(float *y, const struct matmul_args *args, const float *kept,
                           const float *weights, int64_t count, int64_t width, bool accumulate)
{
    _Alignas(32) float sums[TILE_ROWS * LANES];
    for (int64_t r = 0; r < args->rows; r += TILE_ROWS) {
        multiply_tile(sums, kept + r * KEPT, weights, count);
        int64_t rows = least(TILE_ROWS, args->rows - r);
        for (int64_t i = 0; i < rows; i++)
            put_sums(y + (r + i) * args->y_stride, sums + i * LANES, width, accumulate);
    }
}

static void prefill(const struct matmul_args *args)
{
    const struct matmul_weights *weights = args->weights;
    enum matmul_layout layout = matmul_panel_layout(weights->dtype);
    size_t block_bytes = matmul_panel_block_bytes(layout);
    int64_t blocks = matmul_panel_blocks(weights->in);
    float *kept = args->scratch;                      /* [KERNELS_ROWS_MAX, KEPT] */
    float *expanded = kept + KERNELS_ROWS_MAX * KEPT; /* [KEPT, LANES] */
    assert(args->rows <= KERNELS_ROWS_MAX && args->out_first % LANES == 0);
    if (args->rows == 0)
        return;
    for (int64_t first = 0; first < blocks; first += KEPT / DEPTH) {
        int64_t end = least(first + KEPT / DEPTH, blocks);
        keep_rows(kept, args, first * DEPTH, (end - first) * DEPTH);
        for (int64_t o = args->out_first; o < args->out_end; o += LANES) {
            const char *panel =
                (const char *)weights->packed + (size_t)(o / LANES * blocks) * block_bytes;
            for (int64_t b = first; b < end; b++)
                expanders[layout](expanded + (b - first) * DEPTH * LANES,
                                  panel + (size_t)b * block_bytes);
            multiply_panel(args->y + o, args, kept, expanded, (end - first) * DEPTH,
                           least(LANES, args->out_end - o), args->accumulate || first > 0);
        }
    }
}

/* ---- decode ---- */

/* The rows of x of one call. Under nibbles, x[k] is divided by 16^(k % 4): the kernel leaves a
 * nibble where it is in its word and multiplies 16^(k % 4) times too much. */
struct decode_input {
    float *x;    /* [rows, stride] */
    float *sums; /* [rows, blocks], of the undivided x */
    int64_t stride;
    int64_t blocks;
};

/* What one pass sums in registers: rows of x times panels of outputs. */
struct pass {
    enum matmul_layout layout;
    int rows, panels; /* 1 and 2, or 2 and 1, or 1 and 1 */
};

/* [panel, half, row, chain] */
typedef __m256 pass_sums[2][2][2][CHAINS];

/* The four elements from k on of both halves of a panel: nibbles at bits 4 (k % 8). */
INLINE void multiply_nibbles(int rows, __m256 sums[2][2][CHAINS], __m256i nibbles[2],
                             const float *x, int64_t stride)
{
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        __m256i mask = _mm256_set1_epi32(15 << 4 * j);
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m256 quants = _mm256_cvtepi32_ps(_mm256_and_si256(nibbles[half], mask));
#pragma GCC unroll 2
            for (int r = 0; r < rows; r++) {
                __m256 *sum = &sums[half][r][j % CHAINS];
                *sum = _mm256_fmadd_ps(quants, _mm256_broadcast_ss(x + r * stride + j), *sum);
            }
        }
    }
}

/* sums[half][row][k % CHAINS] += quants * x over 8 elements of a block, from k on */
INLINE void multiply_eight(struct pass pass, __m256 sums[2][2][CHAINS], const char *block, int k,
                           const float *x, int64_t stride)
{
    if (matmul_layout_is_nibbles(pass.layout)) {
        __m256i nibbles[2] = {load_nibbles(block, 0, k), load_nibbles(block, 1, k)};
        multiply_nibbles(pass.rows, sums, nibbles, x + k, stride);
        nibbles[0] = _mm256_srli_epi32(nibbles[0], 16);
        nibbles[1] = _mm256_srli_epi32(nibbles[1], 16);
        multiply_nibbles(pass.rows, sums, nibbles, x + k + 4, stride);
        return;
    }
#pragma GCC unroll 8
    for (int j = 0; j < 8; j++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m256 quants = load_quants(pass.layout, block, half, k + j);
#pragma GCC unroll 2
            for (int r = 0; r < pass.rows; r++) {
                __m256 *sum = &sums[half][r][j % CHAINS];
                *sum = _mm256_fmadd_ps(quants, _mm256_broadcast_ss(x + r * stride + k + j), *sum);
            }
        }
}

/* totals[panel][half][row] += d * sums, and m times the block's sum of x with the last part */
INLINE void scale_sums(struct pass pass, __m256 totals[2][2][2], pass_sums sums, const char *block,
                       size_t panel_bytes, int part, const float *x_sums, int64_t blocks)
{
    bool is_last = part == 1 || pass.layout != MATMUL_LAYOUT_WIDE_BYTES;
#pragma GCC unroll 2
    for (int p = 0; p < pass.panels; p++)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            struct scales scales = load_scales(pass.layout, block + (size_t)p * panel_bytes, half);
#pragma GCC unroll 2
            for (int r = 0; r < pass.rows; r++) {
                __m256 total = totals[p][half][r];
                __m256 sum = _mm256_add_ps(sums[p][half][r][0], sums[p][half][r][1]);
                total = matmul_layout_has_scale(pass.layout)
                            ? _mm256_fmadd_ps(sum, scales.d[part], total)
                            : _mm256_add_ps(total, sum);
                if (matmul_layout_has_min(pass.layout) && is_last)
                    total =
                        _mm256_fmadd_ps(scales.m, _mm256_broadcast_ss(x_sums + r * blocks), total);
                totals[p][half][r] = total;
            }
        }
}

/* out [rows, panels * LANES] of one pass; the panels lie panel_bytes apart. */
INLINE void decode_pass(struct pass pass, float *out, const char *block, size_t panel_bytes,
                        const struct decode_input *input, int64_t row)
{
    enum { PARTS_MAX = 2 };
    int parts = pass.layout == MATMUL_LAYOUT_WIDE_BYTES ? PARTS_MAX : 1;
    size_t block_bytes = panel_bytes / (size_t)input->blocks;
    const float *x = input->x + row * input->stride;
    const float *x_sums = input->sums + row * input->blocks;
    __m256 totals[2][2][2]; /* panel, half, row */
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        totals[i / 4][i / 2 % 2][i % 2] = _mm256_setzero_ps();
    for (int64_t b = 0; b < input->blocks; b++, block += block_bytes, x += DEPTH, x_sums++)
#pragma GCC unroll 2
        for (int part = 0; part < parts; part++) {
            /* Not in the condition: checked builds branch there, and the unrolling is lost. */
            const int first = part * DEPTH / parts, end = first + DEPTH / parts;
            pass_sums sums;
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                sums[i / 8][i / 4 % 2][i / 2 % 2][i % 2] = _mm256_setzero_ps();
#pragma GCC unroll 4
            for (int k = first; k < end; k += 8)
#pragma GCC unroll 2
                for (int p = 0; p < pass.panels; p++)
                    multiply_eight(pass, sums[p], block + (size_t)p * panel_bytes, k, x,
                                   input->stride);
            scale_sums(pass, totals, sums, block, panel_bytes, part, x_sums, input->blocks);
        }
#pragma GCC unroll 2
    for (int r = 0; r < pass.rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < 2 * pass.panels; i++)
            _mm256_store_ps(out + (r * 2 * pass.panels + i) * HALF, totals[i / 2][i % 2][r]);
}

typedef void decode_function(float *out, const char *panel, size_t panel_bytes,
                             const struct decode_input *input, int64_t row);

#define DECODE(name, layout, rows, panels)                                                         \
    static void name(float *out, const char *panel, size_t panel_bytes,                            \
                     const struct decode_input *input, int64_t row)                                \
    {                                                                                              \
        decode_pass((struct pass){layout, rows, panels}, out, panel, panel_bytes, input, row);     \
    }
#define DECODE_LAYOUT(name, layout)                                                                \
    DECODE(decode_##name, layout, 1, 1)                                                            \
    DECODE(decode_##name##_panels, layout, 1, 2)                                                   \
    DECODE(decode_##name##_rows, layout, 2, 1)
DECODE_LAYOUT(floats, MATMUL_LAYOUT_FLOATS)
DECODE_LAYOUT(halves, MATMUL_LAYOUT_HALVES)
DECODE_LAYOUT(pairs, MATMUL_LAYOUT_PAIRS)
DECODE_LAYOUT(bytes, MATMUL_LAYOUT_BYTES)
DECODE_LAYOUT(nibbles, MATMUL_LAYOUT_NIBBLES)
DECODE_LAYOUT(nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
DECODE_LAYOUT(wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
DECODE_LAYOUT(wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

static const struct decoder {
    decode_function *one, *two_panels, *two_rows;
} decoders[MATMUL_LAYOUT_COUNT] = {
    {decode_floats, decode_floats_panels, decode_floats_rows},
    {decode_halves, decode_halves_panels, decode_halves_rows},
    {decode_pairs, decode_pairs_panels, decode_pairs_rows},
    {decode_bytes, decode_bytes_panels, decode_bytes_rows},
    {decode_nibbles, decode_nibbles_panels, decode_nibbles_rows},
    {decode_nibbles_min, decode_nibbles_min_panels, decode_nibbles_min_rows},
    {decode_wide_nibbles, decode_wide_nibbles_panels, decode_wide_nibbles_rows},
    {decode_wide_bytes, decode_wide_bytes_panels, decode_wide_bytes_rows},
};

static float sum_block(const float *x)
{
    __m256 sum = _mm256_setzero_ps();
    for (int k = 0; k < DEPTH; k += HALF)
        sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + k));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

static struct decode_input decode_input_load(const struct matmul_args *args)
{
    int64_t blocks = matmul_panel_blocks(args->weights->in);
    struct decode_input input = {.x = args->scratch, .stride = blocks * DEPTH, .blocks = blocks};
    bool divide = matmul_layout_is_nibbles(matmul_panel_layout(args->weights->dtype));
    __m256 factors = _mm256_setr_ps(1, 0x1p-4f, 0x1p-8f, 0x1p-12f, 1, 0x1p-4f, 0x1p-8f, 0x1p-12f);
    input.sums = input.x + DECODE_ROWS * input.stride;
    for (int64_t r = 0; r < args->rows; r++) {
        float *x = input.x + r * input.stride;
        size_t bytes = (size_t)args->weights->in * sizeof *x;
        memcpy(x, args->x + r * args->x_stride, bytes);
        memset(x + args->weights->in, 0, (size_t)input.stride * sizeof *x - bytes);
        for (int64_t b = 0; b < blocks; b++)
            input.sums[r * blocks + b] = sum_block(x + b * DEPTH);
        for (int64_t k = 0; divide && k < input.stride; k += HALF)
            _mm256_store_ps(x + k, _mm256_mul_ps(_mm256_load_ps(x + k), factors));
    }
    return input;
}

/* The panel from output o on and, where the range goes on, the next one. Rows go in pairs that
 * share a panel; the odd row takes both panels at once, to have as many sums in flight. */
static void decode_panels(const struct matmul_args *args, const struct decode_input *input,
                          int64_t o)
{
    _Alignas(32) float out[2 * LANES];
    enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);
    size_t panel_bytes = (size_t)input->blocks * matmul_panel_block_bytes(layout);
    const char *panel = (const char *)args->weights->packed + (size_t)(o / LANES) * panel_bytes;
    const int64_t widths[2] = {least(LANES, args->out_end - o),
                               least(LANES, args->out_end - o - LANES)};
    int64_t r = 0;
    for (; r + 2 <= args->rows; r += 2)
        for (int p = 0; p < 2 && widths[p] > 0; p++) {
            float *y = args->y + r * args->y_stride + o + p * LANES;
            decoders[layout].two_rows(out, panel + (size_t)p * panel_bytes, panel_bytes, input, r);
            put_sums(y, out, widths[p], args->accumulate);
            put_sums(y + args->y_stride, out + LANES, widths[p], args->accumulate);
        }
    if (r == args->rows)
        return;
    float *y = args->y + r * args->y_stride + o;
    bool is_last = widths[1] <= 0;
    (is_last ? decoders[layout].one : decoders[layout].two_panels)(out, panel, panel_bytes, input,
                                                                   r);
    put_sums(y, out, widths[0], args->accumulate);
    if (!is_last)
        put_sums(y + LANES, out + LANES, widths[1], args->accumulate);
}

static void decode(const struct matmul_args *args)
{
    assert(args->out_first % LANES == 0);
    for (int64_t first = 0; first < args->rows; first += DECODE_ROWS) {
        struct matmul_args some = *args; /* the rows that fit the scratch */
        some.rows = least(DECODE_ROWS, args->rows - first);
        some.x += first * args->x_stride;
        some.y += first * args->y_stride;
        struct decode_input input = decode_input_load(&some);
        for (int64_t o = args->out_first; o < args->out_end; o += 2 * LANES)
            decode_panels(&some, &input, o);
    }
}

size_t matmul_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    size_t prefill_floats = KERNELS_ROWS_MAX * KEPT + KEPT * LANES;
    size_t blocks = (size_t)matmul_panel_blocks(limits->width_max);
    size_t decode_floats = DECODE_ROWS * blocks * (DEPTH + 1);
    return (prefill_floats > decode_floats ? prefill_floats : decode_floats) * sizeof(float);
}

void matmul_avx2_install(struct kernels *kernels)
{
    kernels->matmul_packed_bytes = matmul_panel_packed_bytes;
    kernels->matmul_pack = matmul_panel_pack;
    kernels->matmul_row = matmul_panel_row;
    kernels->matmul_prefill = prefill;
    kernels->matmul_decode = decode;
}
