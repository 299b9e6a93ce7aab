/* Attention to int8 panels with AVX2: whole numbers of 16 bits against those of 8, sums in int32.
 *
 * Four bytes of a panel are split into two pairs of 16-bit numbers by a mask or shifts, and a pair
 * is multiplied and added up by one instruction; that queries and probabilities have more than 8
 * bits costs nothing. Both products are exact, so a row's result depends neither on its neighbours
 * nor on how its tile is cut. The softmax is attention_avx2.h's.
 */
#include <assert.h>

#include "kernels/attention_avx2.h"
#include "kernels/attention_int8.h"
#include "kernels/variants.h"

#define INLINE static inline __attribute__((always_inline))

enum { STREAM_ROWS = 3 };

/* What stands behind a query's [head_dim] int16. */
struct row_tail {
    float scale;    /* times scale_log2 */
    int32_t excess; /* what K's excess adds to a product */
};

/* A tile of int32: sum_k a[r][k] b[k][x], k over `fours` fours. */
struct product {
    const int16_t *a; /* [rows, fours, 4], each four as pairs 0 2 and 1 3 */
    int64_t a_stride; /* int16 */
    const char *b;    /* [fours, columns, 4] */
    int64_t b_stride; /* bytes */
    int fours;
    const char *ahead; /* memory to prefetch meanwhile */
    int ahead_lines;   /* for each 16 columns */
};

INLINE __m256i broadcast(const int16_t *pair)
{
    int32_t both;
    memcpy(&both, pair, sizeof both);
    return _mm256_set1_epi32(both);
}

/* sums += the product's columns from `column` on. b is signed, or unsigned as K is. */
INLINE void add_products(__m256i sums[ATTENTION_TILE_ROWS][4], const struct product *product,
                         int column, const int rows, const int vectors, const bool is_signed)
{
    const char *ahead =
        product->ahead + (size_t)(column / 16 * product->ahead_lines) * ATTENTION_LINE;
    const int ahead_lines = vectors / 2 * product->ahead_lines;
    const int lines_a_step =
        rows <= STREAM_ROWS ? (ahead_lines + product->fours - 1) / product->fours : 0;
    for (int i = 0; rows > STREAM_ROWS && i < ahead_lines; i++)
        _mm_prefetch(ahead + i * ATTENTION_LINE, _MM_HINT_T0);
    const __m256i low = _mm256_set1_epi16(0xff);
    const int16_t *a = product->a;
    const char *b = product->b + (int64_t)column * 4;
    for (int k = 0; k < product->fours; k++, a += 4, b += product->b_stride) {
        for (int i = 0; i < lines_a_step; i++, ahead += ATTENTION_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(b + v * 32));
            const __m256i even = is_signed ? _mm256_srai_epi16(_mm256_slli_epi16(bytes, 8), 8)
                                           : _mm256_and_si256(bytes, low);
            const __m256i odd =
                is_signed ? _mm256_srai_epi16(bytes, 8) : _mm256_srli_epi16(bytes, 8);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                const int16_t *four = a + r * product->a_stride;
                sums[r][v] = _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(even, broadcast(four)));
                sums[r][v] =
                    _mm256_add_epi32(sums[r][v], _mm256_madd_epi16(odd, broadcast(four + 2)));
            }
        }
    }
}

/* Eight rows' scales of a head. */
INLINE __m256 scales_at(const uint16_t *scales)
{
    const __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)scales);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

/* ---- queries ---- */

/* 16 numbers times `inverse` as whole ones, each four as pairs 0 2 and 1 3. */
INLINE __m256i whole_numbers(const float *x, __m256 inverse)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0,
                                           1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x), inverse));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + LANES), inverse));
    const __m256i fours = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
    return _mm256_shuffle_epi8(fours, order);
}

static size_t row_bytes(int head_dim)
{
    return (size_t)head_dim * sizeof(int16_t) + sizeof(struct row_tail);
}

static void copy_query(char *out, const float *query, int head_dim, float scale_log2)
{
    float y[ATTENTION_HEAD_DIM_MAX];
    attention_int8_rotate(y, query, head_dim);
    const float largest = attention_int8_largest(y, head_dim);
    const __m256 inverse =
        _mm256_set1_ps(attention_int8_inverse_of(ATTENTION_INT8_QUERY_MOST, largest));
    __m256i total = _mm256_setzero_si256();
    for (int d = 0; d < head_dim; d += 16) {
        const __m256i n = whole_numbers(y + d, inverse);
        total = _mm256_add_epi32(total, _mm256_madd_epi16(n, _mm256_set1_epi16(1)));
        _mm256_storeu_si256((__m256i *)(void *)(out + (size_t)d * sizeof(int16_t)), n);
    }
    int32_t parts[LANES];
    _mm256_storeu_si256((__m256i *)(void *)parts, total);
    struct row_tail tail = {.scale = largest / ATTENTION_INT8_QUERY_MOST * scale_log2};
    for (int i = 0; i < LANES; i++)
        tail.excess += ATTENTION_INT8_EXCESS * parts[i];
    memcpy(out + (size_t)head_dim * sizeof(int16_t), &tail, sizeof tail);
}

static void copy_queries(void *out, const void *in, int64_t rows, int head_dim, float scale_log2)
{
    for (int64_t r = 0; r < rows; r++)
        copy_query((char *)out + (size_t)r * row_bytes(head_dim), (const float *)in + r * head_dim,
                   head_dim, scale_log2);
}

/* ---- scores ---- */

INLINE void score_columns(const struct product *product, const uint16_t *scales, float *scores,
                          int column, const int rows, const int vectors, int head_dim)
{
    __m256i sums[ATTENTION_TILE_ROWS][4];
    struct row_tail tails[ATTENTION_TILE_ROWS];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        memcpy(&tails[r], product->a + r * product->a_stride + head_dim, sizeof tails[r]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] = _mm256_set1_epi32(-tails[r].excess);
    }
    add_products(sums, product, column, rows, vectors, false);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const __m256 scale = scales_at(scales + column + v * LANES);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256 score =
                _mm256_mul_ps(_mm256_cvtepi32_ps(sums[r][v]), _mm256_set1_ps(tails[r].scale));
            _mm256_storeu_ps(scores + r * PANEL_TOKENS + column + v * LANES,
                             _mm256_mul_ps(score, scale));
        }
    }
}

INLINE void score_rows(const struct product *product, const uint16_t *scales, float *scores,
                       int first, int end, const int rows, int head_dim)
{
    int column = first;
    for (; rows <= STREAM_ROWS && column + 32 <= end; column += 32)
        score_columns(product, scales, scores, column, rows, 4, head_dim);
    for (; column < end; column += 16)
        score_columns(product, scales, scores, column, rows, 2, head_dim);
}

static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view, float *scores,
                  int first, int end)
{
    const int head_dim = chunk->args->head_dim;
    const char *keys = panel->records + (size_t)view.key_frame * chunk->args->record_stride;
    const uint16_t *scales = attention_int8_scales(keys, head_dim);
    const struct product product = {
        .a = (const int16_t *)(const void *)(chunk->queries[view.query_frame] +
                                             (size_t)rows->first * chunk->row_bytes),
        .a_stride = (int64_t)(chunk->row_bytes / sizeof(int16_t)),
        .b = keys,
        .b_stride = 4 * PANEL_TOKENS,
        .fours = head_dim / 4,
        .ahead = rows->ahead_keys,
        .ahead_lines = chunk->ahead_keys,
    };
#define CALL(count) score_rows(&product, scales, scores, first, end, count, head_dim)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
}

/* ---- values ---- */

/* A tile's probabilities times the scales of values. */
struct weights {
    int16_t whole[ATTENTION_TILE_ROWS][PANEL_TOKENS];
    float scale[ATTENTION_TILE_ROWS];
};

/* Of one row. Numbers are compared as their bits: what is not a number is the largest. */
INLINE void weigh_row(struct weights *weights, int row, const float *probabilities,
                      const uint16_t *scales)
{
    float weighed[PANEL_TOKENS];
    __m256i most = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (int v = 0; v < PANEL_TOKENS; v += LANES) {
        const __m256 w = _mm256_mul_ps(_mm256_load_ps(probabilities + v), scales_at(scales + v));
        most = _mm256_max_epu32(most, _mm256_castps_si256(w));
        _mm256_storeu_ps(weighed + v, w);
    }
    __m128i half = _mm_max_epu32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epu32(half, _mm_shuffle_epi32(half, 0xb1));
    const float largest = _mm_cvtss_f32(_mm_castsi128_ps(half));
    const __m256 inverse =
        _mm256_set1_ps(attention_int8_inverse_of(ATTENTION_INT8_WEIGHT_MOST, largest));
    weights->scale[row] = largest / ATTENTION_INT8_WEIGHT_MOST;
#pragma GCC unroll 4
    for (int t = 0; t < PANEL_TOKENS; t += 16)
        _mm256_storeu_si256((__m256i *)(void *)(weights->whole[row] + t),
                            whole_numbers(weighed + t, inverse));
}

INLINE void add_columns(const struct product *product, float *const *acc, const float *factors,
                        int column, const int rows, const int vectors)
{
    __m256i sums[ATTENTION_TILE_ROWS][4];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sums[r][v] = _mm256_setzero_si256();
    add_products(sums, product, column, rows, vectors, true);
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            float *at = acc[r] + column + v * LANES;
            _mm256_storeu_ps(at, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][v]),
                                                 _mm256_set1_ps(factors[r]), _mm256_loadu_ps(at)));
        }
}

INLINE void add_rows(const struct product *product, float *const *acc, const float *factors,
                     const int rows, int head_dim)
{
    int column = 0;
    for (; rows <= STREAM_ROWS && column + 32 <= head_dim; column += 32)
        add_columns(product, acc, factors, column, rows, 4);
    for (; column < head_dim; column += 16)
        add_columns(product, acc, factors, column, rows, 2);
}

/* acc += probabilities * values over the keys among `lanes`; the others' probabilities are 0. */
static void accumulate(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, uint64_t lanes)
{
    const int head_dim = chunk->args->head_dim;
    const uint16_t *scales = attention_int8_scales(panel->values, head_dim);
    struct weights weights;
    for (int r = 0; r < rows->count; r++)
        weigh_row(&weights, r, chunk->scores + r * PANEL_TOKENS, scales);
    const int first = __builtin_ctzll(lanes) / 4;
    const struct product product = {
        .a = weights.whole[0] + 4 * first,
        .a_stride = PANEL_TOKENS,
        .b = panel->values + (size_t)(4 * first) * (size_t)head_dim,
        .b_stride = 4 * head_dim,
        .fours = (63 - __builtin_clzll(lanes)) / 4 + 1 - first,
        .ahead = rows->ahead_values,
        .ahead_lines = chunk->ahead_values,
    };
#define CALL(count) add_rows(&product, rows->acc, weights.scale, count, head_dim)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
}

static void fold(const struct attention_chunk *chunk, const struct attention_panel *panel,
                 const struct attention_rows *rows, uint64_t lanes)
{
    softmax_rows(chunk, rows, true);
    accumulate(chunk, panel, rows, lanes);
}

static void whole(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view)
{
    score(chunk, panel, rows, view, chunk->scores, 0, PANEL_TOKENS);
    softmax_rows(chunk, rows, false);
    accumulate(chunk, panel, rows, ~UINT64_C(0));
}

static const struct attention_tile_ops ops = {
    .operand = DTYPE_F32,
    .cache = DTYPE_INT8,
    .row_bytes = row_bytes,
    .copy_queries = copy_queries,
    .score = score,
    .fold = fold,
    .whole = whole,
};

static void attend(const struct attention_args *args)
{
    attention_walk(args, &ops);
}

size_t attention_int8_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_int8_avx2_install(struct kernels *kernels)
{
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
}
