/* Owns the AVX-512 products of matmul.h over the panels of matmul_panel.h. Needs AVX-512 F, BW, VL
 * and BF16.
 *
 * Its logic was checked under emulation (tests/support/emulated), with the roundings of vdpbf16ps;
 * its speed was not measured: no machine with these instructions was at hand.
 *
 * Prefill: for KEPT elements of k at a time, x is rounded to bf16 in dense rows, up to PANELS
 * panels are expanded to bf16 pairs (bf16 weights are such pairs in memory already), and TILE_ROWS
 * x 64 sums stay in registers. Decode: as in matmul_avx2.c, quants times float32.
 *
 * Promises the orders over k: prefill sums the pairs of KEPT elements one after the other and adds
 * these parts in ascending order; decode sums each block in four chains, k mod 4, and adds blocks
 * in ascending order. No other row, column or cut of the output has a part in them. */
#include "kernels/variants.h"

#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/matmul_panel.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    LANES = MATMUL_SPLIT,
    DEPTH = MATMUL_PANEL_DEPTH,
    TILE_ROWS = 6,
    PANELS = 4, /* of a tile */
    KEPT = 128,
    CHAINS = 4,
    DECODE_ROWS = 8, /* rows that share one reading of the weights */
    PASS_ROWS = 4,
    PASS_PANELS = 2,
};

_Static_assert(KERNELS_ROWS_MAX % TILE_ROWS == 0, "x scratch holds whole tiles");

/* Of a block: an element is quant * d[k / 16] + m. */
struct scales {
    __m512 d[2];
    __m512 m;
};

INLINE __m512 load_f16(const char *at)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)at));
}

/* Blocks are 32-byte aligned. */
INLINE __m512 load_f32(const char *at)
{
    return _mm512_loadu_ps(at);
}

INLINE struct scales load_scales(enum matmul_layout layout, const char *block)
{
    struct scales scales = {{_mm512_set1_ps(1), _mm512_set1_ps(1)}, _mm512_setzero_ps()};
    if (!matmul_layout_has_scale(layout))
        return scales;
    const char *at = block + DEPTH * LANES / (matmul_layout_is_nibbles(layout) ? 2 : 1);
    if (layout == MATMUL_LAYOUT_WIDE_BYTES) {
        scales.d[0] = load_f32(at);
        scales.d[1] = load_f32(at + LANES * 4);
        scales.m = load_f32(at + LANES * 8);
        return scales;
    }
    if (layout == MATMUL_LAYOUT_WIDE_NIBBLES) {
        scales.d[0] = scales.d[1] = load_f32(at);
        scales.m = load_f32(at + LANES * 4);
        return scales;
    }
    scales.d[0] = scales.d[1] = load_f16(at);
    if (layout == MATMUL_LAYOUT_NIBBLES)
        scales.m = _mm512_mul_ps(scales.d[0], _mm512_set1_ps(-8));
    if (layout == MATMUL_LAYOUT_NIBBLES_MIN)
        scales.m = load_f16(at + LANES * 2);
    return scales;
}

INLINE __m512i load_nibbles(const char *block, int k)
{
    return _mm512_loadu_si512(block + k / 8 * LANES * 4);
}

/* The quants of element k of a block. */
INLINE __m512 load_quants(enum matmul_layout layout, const char *block, int k)
{
    if (matmul_layout_is_nibbles(layout)) {
        __m512i shifted = _mm512_srli_epi32(load_nibbles(block, k), (unsigned)(4 * (k % 8)));
        return _mm512_cvtepi32_ps(_mm512_and_si512(shifted, _mm512_set1_epi32(15)));
    }
    if (layout == MATMUL_LAYOUT_FLOATS)
        return load_f32(block + k * LANES * 4);
    if (layout == MATMUL_LAYOUT_HALVES)
        return load_f16(block + k * LANES * 2);
    if (layout == MATMUL_LAYOUT_PAIRS) {
        __m512i pairs = _mm512_loadu_si512(block + k / 2 * LANES * 4);
        __m512i high = _mm512_set1_epi32((int)0xffff0000);
        return _mm512_castsi512_ps(k % 2 == 0 ? _mm512_slli_epi32(pairs, 16)
                                              : _mm512_and_si512(pairs, high));
    }
    const char *at = block + k * LANES;
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)at)));
}

/* ---- prefill ---- */

/* Element k of a block in float32. */
INLINE __m512 load_value(enum matmul_layout layout, struct scales scales, const char *block, int k)
{
    __m512 value = load_quants(layout, block, k);
    if (matmul_layout_has_min(layout))
        return _mm512_fmadd_ps(value, scales.d[k / 16], scales.m);
    return matmul_layout_has_scale(layout) ? _mm512_mul_ps(value, scales.d[0]) : value;
}

/* pairs [DEPTH / 2, LANES, 2] bf16 */
INLINE void expand_block(enum matmul_layout layout, char *pairs, const char *block)
{
    struct scales scales = load_scales(layout, block);
#pragma GCC unroll 16
    for (int k = 0; k < DEPTH; k += 2) {
        __m256i even = (__m256i)_mm512_cvtneps_pbh(load_value(layout, scales, block, k));
        __m256i odd = (__m256i)_mm512_cvtneps_pbh(load_value(layout, scales, block, k + 1));
        __m512i pair = _mm512_or_si512(_mm512_cvtepu16_epi32(even),
                                       _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
        _mm512_store_si512(pairs + k / 2 * LANES * 4, pair);
    }
}

typedef void expand_function(char *pairs, const char *block);

#define EXPAND(name, layout)                                                                       \
    static void expand_##name(char *pairs, const char *block)                                      \
    {                                                                                              \
        expand_block(layout, pairs, block);                                                        \
    }
EXPAND(floats, MATMUL_LAYOUT_FLOATS)
EXPAND(halves, MATMUL_LAYOUT_HALVES)
EXPAND(bytes, MATMUL_LAYOUT_BYTES)
EXPAND(nibbles, MATMUL_LAYOUT_NIBBLES)
EXPAND(nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
EXPAND(wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
EXPAND(wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

/* NULL: the panel is what an expansion would write. */
static expand_function *const expanders[MATMUL_LAYOUT_COUNT] = {
    expand_floats,       expand_halves,     NULL, expand_bytes, expand_nibbles, expand_nibbles_min,
    expand_wide_nibbles, expand_wide_bytes,
};

INLINE __m512 multiply_pairs(__m512 sum, int factor, __m512i pairs)
{
    return _mm512_dpbf16_ps(sum, (__m512bh)_mm512_set1_epi32(factor), (__m512bh)pairs);
}

/* sums [TILE_ROWS, PANELS, LANES] = kept [TILE_ROWS, KEPT] times `panels` panels, each
 * [count / 2, LANES, 2] bf16 */
INLINE void multiply_tile(int panels, float *sums, const uint16_t *kept,
                          const char *const pairs[PANELS], int64_t count)
{
    __m512 tile[TILE_ROWS][PANELS];
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            tile[r][p] = _mm512_setzero_ps();
    for (int64_t k = 0; k < count; k += 2) {
        __m512i weights[PANELS];
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            weights[p] = _mm512_loadu_si512(pairs[p] + k / 2 * LANES * 4);
#pragma GCC unroll 6
        for (int r = 0; r < TILE_ROWS; r++) {
            int factor;
            memcpy(&factor, kept + r * KEPT + k, sizeof factor);
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++)
                tile[r][p] = multiply_pairs(tile[r][p], factor, weights[p]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < TILE_ROWS; r++)
#pragma GCC unroll 4
        for (int p = 0; p < panels; p++)
            _mm512_store_ps(sums + (r * PANELS + p) * LANES, tile[r][p]);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static __mmask16 first_lanes(int64_t count)
{
    return (__mmask16)(count >= LANES ? 0xffff : (1u << count) - 1);
}

/* y [count] = or += sums [LANES], the first count <= LANES of them */
INLINE void put_sums(float *y, __m512 sums, int64_t count, bool accumulate)
{
    __mmask16 lanes = first_lanes(count);
    if (accumulate)
        sums = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes, y), sums);
    _mm512_mask_storeu_ps(y, lanes, sums);
}

/* Rounds elements [first, first + count) of every row, zeros where x ends and up to whole tiles.
 * kept [rows, KEPT] bf16 */
static void keep_rows(uint16_t *kept, const struct matmul_args *args, int64_t first, int64_t count)
{
    int64_t tiles = (args->rows + TILE_ROWS - 1) / TILE_ROWS;
    for (int64_t r = 0; r < tiles * TILE_ROWS; r++, kept += KEPT)
        for (int64_t k = 0; k < count; k += LANES) {
            int64_t left = r < args->rows ? args->weights->in - first - k : 0;
            const float *x = args->x + (left > 0 ? r * args->x_stride + first + k : 0);
            __m512 values = _mm512_maskz_loadu_ps(first_lanes(left > 0 ? left : 0), x);
            _mm256_store_si256((__m256i *)(kept + k), (__m256i)_mm512_cvtneps_pbh(values));
        }
}

/* `panels` panels' columns, [out, out + width) of every row */
static void multiply_panels(const struct matmul_args *args, int panels, const uint16_t *kept,
                            const char *const pairs[PANELS], int64_t count, int64_t out,
                            bool accumulate)
{
    _Alignas(64) float sums[TILE_ROWS * PANELS * LANES];
    for (int64_t r = 0; r < args->rows; r += TILE_ROWS) {
        const uint16_t *tile = kept + r * KEPT;
        if (panels == 4)
            multiply_tile(4, sums, tile, pairs, count);
        else if (panels == 3)
            multiply_tile(3, sums, tile, pairs, count);
        else if (panels == 2)
            multiply_tile(2, sums, tile, pairs, count);
        else
            multiply_tile(1, sums, tile, pairs, count);
        for (int64_t i = 0; i < least(TILE_ROWS, args->rows - r); i++)
            for (int p = 0; p < panels; p++)
                put_sums(args->y + (r + i) * args->y_stride + out + p * LANES,
                         _mm512_load_ps(sums + (i * PANELS + p) * LANES),
                         args->out_end - out - p * LANES, accumulate);
    }
}

/* Where the pairs of blocks [first, end) of the panel of output `out` are: expanded, or in place.
 */
static const char *expand_panel(const struct matmul_weights *weights, char *expanded, int64_t out,
                                int64_t first, int64_t end)
{
    enum matmul_layout layout = matmul_panel_layout(weights->dtype);
    size_t block_bytes = matmul_panel_block_bytes(layout);
    int64_t block = out / LANES * matmul_panel_blocks(weights->in) + first;
    const char *at = (const char *)weights->packed + (size_t)block * block_bytes;
    if (!expanders[layout])
        return at;
    for (int64_t b = 0; b < end - first; b++)
        expanders[layout](expanded + b * DEPTH * LANES * 2, at + (size_t)b * block_bytes);
    return expanded;
}

static void prefill(const struct matmul_args *args)
{
    int64_t blocks = matmul_panel_blocks(args->weights->in);
    uint16_t *kept = args->scratch;                            /* [KERNELS_ROWS_MAX, KEPT] */
    char *expanded = (char *)(kept + KERNELS_ROWS_MAX * KEPT); /* [PANELS, KEPT / 2, LANES, 2] */
    assert(args->rows <= KERNELS_ROWS_MAX && args->out_first % LANES == 0);
    if (args->rows == 0)
        return;
    for (int64_t first = 0; first < blocks; first += KEPT / DEPTH) {
        int64_t end = least(first + KEPT / DEPTH, blocks);
        keep_rows(kept, args, first * DEPTH, (end - first) * DEPTH);
        for (int64_t o = args->out_first; o < args->out_end; o += PANELS * LANES) {
            const char *pairs[PANELS];
            int panels = 0;
            for (; panels < PANELS && o + panels * LANES < args->out_end; panels++)
                pairs[panels] = expand_panel(args->weights, expanded + panels * KEPT * LANES * 2,
                                             o + panels * LANES, first, end);
            multiply_panels(args, panels, kept, pairs, (end - first) * DEPTH, o,
                            args->accumulate || first > 0);
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
    int rows, panels; /* 1 and PASS_PANELS, or PASS_ROWS and 1, or 1 and 1 */
};

/* The quants of element k, a nibble times 16^(k % 4). */
INLINE __m512 load_scaled_quants(enum matmul_layout layout, const char *block, int k)
{
    if (!matmul_layout_is_nibbles(layout))
        return load_quants(layout, block, k);
    __m512i nibbles = load_nibbles(block, k);
    if (k % 8 >= 4)
        nibbles = _mm512_srli_epi32(nibbles, 16);
    __m512i mask = _mm512_set1_epi32(15 << 4 * (k % 4));
    return _mm512_cvtepi32_ps(_mm512_and_si512(nibbles, mask));
}

/* totals[row] += one block of one panel */
INLINE void multiply_block(struct pass pass, __m512 totals[PASS_ROWS], const char *block,
                           const float *x, int64_t stride, const float *x_sums, int64_t blocks)
{
    int parts = pass.layout == MATMUL_LAYOUT_WIDE_BYTES ? 2 : 1;
    struct scales scales = load_scales(pass.layout, block);
#pragma GCC unroll 2
    for (int part = 0; part < parts; part++) {
        const int first = part * DEPTH / parts, end = first + DEPTH / parts;
        __m512 sums[PASS_ROWS][CHAINS];
#pragma GCC unroll 16
        for (int i = 0; i < pass.rows * CHAINS; i++)
            sums[i / CHAINS][i % CHAINS] = _mm512_setzero_ps();
#pragma GCC unroll 32
        for (int k = first; k < end; k++) {
            __m512 quants = load_scaled_quants(pass.layout, block, k);
#pragma GCC unroll 4
            for (int r = 0; r < pass.rows; r++)
                sums[r][k % CHAINS] =
                    _mm512_fmadd_ps(quants, _mm512_set1_ps(x[r * stride + k]), sums[r][k % CHAINS]);
        }
#pragma GCC unroll 4
        for (int r = 0; r < pass.rows; r++) {
            __m512 sum = _mm512_add_ps(_mm512_add_ps(sums[r][0], sums[r][1]),
                                       _mm512_add_ps(sums[r][2], sums[r][3]));
            totals[r] = matmul_layout_has_scale(pass.layout)
                            ? _mm512_fmadd_ps(sum, scales.d[part], totals[r])
                            : _mm512_add_ps(totals[r], sum);
        }
    }
    if (matmul_layout_has_min(pass.layout))
#pragma GCC unroll 4
        for (int r = 0; r < pass.rows; r++)
            totals[r] = _mm512_fmadd_ps(scales.m, _mm512_set1_ps(x_sums[r * blocks]), totals[r]);
}

/* out [rows, panels, LANES] of one pass; the panels lie panel_bytes apart. */
INLINE void decode_pass(struct pass pass, float *out, const char *block, size_t panel_bytes,
                        const struct decode_input *input, int64_t row)
{
    size_t block_bytes = panel_bytes / (size_t)input->blocks;
    const float *x = input->x + row * input->stride;
    const float *x_sums = input->sums + row * input->blocks;
    __m512 totals[PASS_PANELS][PASS_ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < PASS_PANELS * PASS_ROWS; i++)
        totals[i / PASS_ROWS][i % PASS_ROWS] = _mm512_setzero_ps();
    for (int64_t b = 0; b < input->blocks; b++, block += block_bytes, x += DEPTH, x_sums++)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++)
            multiply_block(pass, totals[p], block + (size_t)p * panel_bytes, x, input->stride,
                           x_sums, input->blocks);
#pragma GCC unroll 4
    for (int r = 0; r < pass.rows; r++)
#pragma GCC unroll 2
        for (int p = 0; p < pass.panels; p++)
            _mm512_store_ps(out + (r * pass.panels + p) * LANES, totals[p][r]);
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
    DECODE(decode_##name##_panels, layout, 1, PASS_PANELS)                                         \
    DECODE(decode_##name##_rows, layout, PASS_ROWS, 1)
DECODE_LAYOUT(floats, MATMUL_LAYOUT_FLOATS)
DECODE_LAYOUT(halves, MATMUL_LAYOUT_HALVES)
DECODE_LAYOUT(pairs, MATMUL_LAYOUT_PAIRS)
DECODE_LAYOUT(bytes, MATMUL_LAYOUT_BYTES)
DECODE_LAYOUT(nibbles, MATMUL_LAYOUT_NIBBLES)
DECODE_LAYOUT(nibbles_min, MATMUL_LAYOUT_NIBBLES_MIN)
DECODE_LAYOUT(wide_nibbles, MATMUL_LAYOUT_WIDE_NIBBLES)
DECODE_LAYOUT(wide_bytes, MATMUL_LAYOUT_WIDE_BYTES)

static const struct decoder {
    decode_function *one, *panels, *rows;
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
    float lanes[8] = {0};
    for (int k = 0; k < DEPTH; k++)
        lanes[k % 8] += x[k];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

static struct decode_input decode_input_load(const struct matmul_args *args)
{
    static const float factors[4] = {1, 0x1p-4f, 0x1p-8f, 0x1p-12f};
    int64_t blocks = matmul_panel_blocks(args->weights->in);
    struct decode_input input = {.x = args->scratch, .stride = blocks * DEPTH, .blocks = blocks};
    bool divide = matmul_layout_is_nibbles(matmul_panel_layout(args->weights->dtype));
    input.sums = input.x + DECODE_ROWS * input.stride;
    for (int64_t r = 0; r < args->rows; r++) {
        float *x = input.x + r * input.stride;
        size_t bytes = (size_t)args->weights->in * sizeof *x;
        memcpy(x, args->x + r * args->x_stride, bytes);
        memset(x + args->weights->in, 0, (size_t)input.stride * sizeof *x - bytes);
        for (int64_t b = 0; b < blocks; b++)
            input.sums[r * blocks + b] = sum_block(x + b * DEPTH);
        for (int64_t k = 0; divide && k < input.stride; k++)
            x[k] *= factors[k % 4];
    }
    return input;
}

/* The panel from output o on and, where the range goes on, the next one. Rows go in fours that
 * share a panel; a single row takes both panels at once, to have as many sums in flight. */
static void decode_panels(const struct matmul_args *args, const struct decode_input *input,
                          int64_t o)
{
    _Alignas(64) float out[PASS_ROWS * LANES];
    enum matmul_layout layout = matmul_panel_layout(args->weights->dtype);
    size_t panel_bytes = (size_t)input->blocks * matmul_panel_block_bytes(layout);
    const char *panel = (const char *)args->weights->packed + (size_t)(o / LANES) * panel_bytes;
    int panels = o + LANES < args->out_end ? PASS_PANELS : 1;
    int64_t r = 0;
    for (; r + PASS_ROWS <= args->rows; r += PASS_ROWS)
        for (int p = 0; p < panels; p++) {
            int64_t first = o + p * LANES;
            decoders[layout].rows(out, panel + (size_t)p * panel_bytes, panel_bytes, input, r);
            for (int i = 0; i < PASS_ROWS; i++)
                put_sums(args->y + (r + i) * args->y_stride + first,
                         _mm512_load_ps(out + i * LANES), args->out_end - first, args->accumulate);
        }
    for (; r < args->rows; r++) {
        (panels == 1 ? decoders[layout].one : decoders[layout].panels)(out, panel, panel_bytes,
                                                                       input, r);
        for (int p = 0; p < panels; p++)
            put_sums(args->y + r * args->y_stride + o + p * LANES, _mm512_load_ps(out + p * LANES),
                     args->out_end - o - p * LANES, args->accumulate);
    }
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
        for (int64_t o = args->out_first; o < args->out_end; o += PASS_PANELS * LANES)
            decode_panels(&some, &input, o);
    }
}

size_t matmul_avx512_scratch_bytes(const struct kernels_limits *limits)
{
    size_t prefill_bytes = (KERNELS_ROWS_MAX * KEPT + PANELS * KEPT * LANES) * sizeof(uint16_t);
    size_t blocks = (size_t)matmul_panel_blocks(limits->width_max);
    size_t decode_bytes = DECODE_ROWS * blocks * (DEPTH + 1) * sizeof(float);
    return prefill_bytes > decode_bytes ? prefill_bytes : decode_bytes;
}

void matmul_avx512_install(struct kernels *kernels)
{
    kernels->matmul_packed_bytes = matmul_panel_packed_bytes;
    kernels->matmul_pack = matmul_panel_pack;
    kernels->matmul_row = matmul_panel_row;
    kernels->matmul_prefill = prefill;
    kernels->matmul_decode = decode;
}
