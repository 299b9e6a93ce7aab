/* Attention to int8 panels with AVX-512 VNNI: bytes against bytes, four products and their sum in
 * one instruction.
 *
 * A query is two planes of signed bytes, of which the high one counts 128, and a row's
 * probabilities two of unsigned ones, of which the high one counts 256. Both products are exact in
 * int32, so a row's result depends neither on its neighbours nor on how its tile is cut. The
 * softmax is attention_avx512.h's.
 */
#include "kernels/attention_avx512.h"
#include "kernels/attention_int8.h"
#include "kernels/variants.h"

enum {
    QUERY_PLANES = 2,
    WEIGHT_PLANES = 2,
    PLANES_MOST = 2,
    GROUP_ROWS = 3, /* so many rows' sums, of both planes, fit into the registers */
};

/* What stands behind a query's planes [QUERY_PLANES, head_dim]. */
struct row_tail {
    float scale;
    int32_t excess; /* what K's excess adds to a product */
};

/* sum_k a[r][k] b[k][x] in int32, k over `fours` fours. */
struct product {
    const char *a;        /* [rows][planes][fours, 4] */
    int64_t a_stride;     /* bytes from row to row */
    int64_t plane_stride; /* bytes */
    const char *b;        /* [fours, columns, 4] */
    int64_t b_stride;     /* bytes */
    int fours;
    const char *ahead; /* memory to prefetch meanwhile */
    int ahead_lines;   /* for each 16 columns */
};

typedef __m512i group_sums[GROUP_ROWS][PLANES_MOST][VECTORS];

INLINE __m512i four_at(const char *a)
{
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32(four);
}

/* sum += four products of unsigned and signed bytes, in place: left to itself, the compiler renames
 * the sums and copies them back. */
INLINE __m512i multiply_add(__m512i sum, __m512i unsigned_four, __m512i signed_four)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(unsigned_four), "v"(signed_four));
    return sum;
}

/* sums += the product's columns from `column` on. `keys`: b is unsigned and a signed, else the
 * other way round. */
INLINE void add_fours(group_sums sums, const struct product *product, int column, const int rows,
                      const int planes, const int vectors, const bool keys)
{
    const char *ahead =
        product->ahead + (size_t)(column / LANES * product->ahead_lines) * ATTENTION_LINE;
    const int lines_a_step = (vectors * product->ahead_lines + product->fours - 1) / product->fours;
    const char *a = product->a;
    const char *b = product->b + (int64_t)column * 4;
    for (int k = 0; k < product->fours; k++, a += 4, b += product->b_stride) {
        for (int i = 0; i < lines_a_step; i++, ahead += ATTENTION_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        __m512i vector[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            vector[v] = _mm512_loadu_si512(b + v * 64);
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int p = 0; p < planes; p++) {
                const __m512i four = four_at(a + r * product->a_stride + p * product->plane_stride);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++)
                    sums[r][p][v] = keys ? multiply_add(sums[r][p][v], vector[v], four)
                                         : multiply_add(sums[r][p][v], four, vector[v]);
            }
    }
}

/* 16 rows' scales of a head. */
INLINE __m512 scales_at(const uint16_t *scales)
{
    const __m256i halves = _mm256_loadu_si256((const __m256i *)(const void *)scales);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

/* ---- queries ---- */

static size_t row_bytes(int head_dim)
{
    return (size_t)(QUERY_PLANES * head_dim) + sizeof(struct row_tail);
}

static void copy_query(char *out, const float *query, int head_dim)
{
    float y[ATTENTION_HEAD_DIM_MAX];
    attention_int8_rotate(y, query, head_dim);
    const float largest = attention_int8_largest(y, head_dim);
    const __m512 inverse =
        _mm512_set1_ps(attention_int8_inverse_of(ATTENTION_INT8_QUERY_MOST, largest));
    __m512i total = _mm512_setzero_si512();
    for (int d = 0; d < head_dim; d += LANES) {
        const __m512i n = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(y + d), inverse));
        const __m512i high = _mm512_srai_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(64)), 7);
        const __m512i low = _mm512_sub_epi32(n, _mm512_slli_epi32(high, 7));
        total = _mm512_add_epi32(total, n);
        _mm_storeu_si128((__m128i *)(void *)(out + d), _mm512_cvtepi32_epi8(high));
        _mm_storeu_si128((__m128i *)(void *)(out + head_dim + d), _mm512_cvtepi32_epi8(low));
    }
    const struct row_tail tail = {largest / ATTENTION_INT8_QUERY_MOST,
                                  ATTENTION_INT8_EXCESS * _mm512_reduce_add_epi32(total)};
    memcpy(out + QUERY_PLANES * head_dim, &tail, sizeof tail);
}

static void copy_queries(void *out, const void *in, int64_t rows, int head_dim, float scale_log2)
{
    (void)scale_log2; /* the softmax does it */
    for (int64_t r = 0; r < rows; r++)
        copy_query((char *)out + (size_t)r * row_bytes(head_dim), (const float *)in + r * head_dim,
                   head_dim);
}

/* ---- scores ---- */

INLINE void score_columns(const struct product *product, const uint16_t *scales, float *scores,
                          int column, const int rows, const int vectors, int head_dim)
{
    group_sums sums;
    struct row_tail tails[GROUP_ROWS];
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++) {
        memcpy(&tails[r], product->a + r * product->a_stride + QUERY_PLANES * head_dim,
               sizeof tails[r]);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sums[r][0][v] = _mm512_setzero_si512();
            sums[r][1][v] = _mm512_set1_epi32(-tails[r].excess);
        }
    }
    add_fours(sums, product, column, rows, QUERY_PLANES, vectors, true);
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        const __m512 scale = scales_at(scales + column + v * LANES);
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++) {
            const __m512i sum =
                _mm512_add_epi32(_mm512_slli_epi32(sums[r][0][v], 7), sums[r][1][v]);
            const __m512 score =
                _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_set1_ps(tails[r].scale));
            _mm512_storeu_ps(scores + r * PANEL_TOKENS + column + v * LANES,
                             _mm512_mul_ps(score, scale));
        }
    }
}

INLINE void score_group(const struct product *product, const uint16_t *scales, float *scores,
                        int first, int end, const int rows, int head_dim)
{
    int column = first;
    for (; column + PANEL_TOKENS <= end; column += PANEL_TOKENS)
        score_columns(product, scales, scores, column, rows, VECTORS, head_dim);
    for (; column < end; column += LANES)
        score_columns(product, scales, scores, column, rows, 1, head_dim);
}

/* Calls with the count as a constant. */
#define EACH_GROUP(count, call)                                                                    \
    switch (count) {                                                                               \
    case 1:                                                                                        \
        call(1);                                                                                   \
        break;                                                                                     \
    case 2:                                                                                        \
        call(2);                                                                                   \
        break;                                                                                     \
    default:                                                                                       \
        call(3);                                                                                   \
        break;                                                                                     \
    }

static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view, float *scores,
                  int first, int end)
{
    const int head_dim = chunk->args->head_dim;
    const char *keys = panel->records + (size_t)view.key_frame * chunk->args->record_stride;
    const uint16_t *scales = attention_int8_scales(keys, head_dim);
    struct product product = {
        .a = chunk->queries[view.query_frame] + (size_t)rows->first * chunk->row_bytes,
        .a_stride = (int64_t)chunk->row_bytes,
        .plane_stride = head_dim,
        .b = keys,
        .b_stride = 4 * PANEL_TOKENS,
        .fours = head_dim / 4,
        .ahead = rows->ahead_keys,
        .ahead_lines = chunk->ahead_keys,
    };
    for (int row = 0; row < rows->count; row += GROUP_ROWS) {
        float *at = scores + row * PANEL_TOKENS;
#define CALL(count) score_group(&product, scales, at, first, end, count, head_dim)
        EACH_GROUP(rows->count - row, CALL);
#undef CALL
        product.a += GROUP_ROWS * product.a_stride;
        product.ahead_lines = 0;
    }
}

/* ---- values ---- */

/* A tile's probabilities times the scales of values. */
struct weights {
    uint8_t planes[ATTENTION_TILE_ROWS][WEIGHT_PLANES][PANEL_TOKENS];
    float scale[ATTENTION_TILE_ROWS];
};

/* Of one row. Numbers are compared as their bits: what is not a number is the largest. */
INLINE void weigh_row(struct weights *weights, int row, const float *probabilities,
                      const __m512 scales[VECTORS])
{
    __m512 weighed[VECTORS];
    __m512i most = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        weighed[v] = _mm512_mul_ps(_mm512_loadu_ps(probabilities + v * LANES), scales[v]);
        most = _mm512_max_epu32(most, _mm512_castps_si512(weighed[v]));
    }
    const float largest = dtype_f32_from_bits(_mm512_reduce_max_epu32(most));
    const __m512 inverse =
        _mm512_set1_ps(attention_int8_inverse_of(ATTENTION_INT8_WEIGHT_MOST, largest));
    weights->scale[row] = largest / ATTENTION_INT8_WEIGHT_MOST;
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++) {
        const __m512i n = _mm512_cvtps_epi32(_mm512_mul_ps(weighed[v], inverse));
        _mm_storeu_si128((__m128i *)(void *)(weights->planes[row][0] + v * LANES),
                         _mm512_cvtepi32_epi8(_mm512_srli_epi32(n, 8)));
        _mm_storeu_si128((__m128i *)(void *)(weights->planes[row][1] + v * LANES),
                         _mm512_cvtepi32_epi8(n));
    }
}

INLINE void add_columns(const struct product *product, float *const *acc, const float *factors,
                        int column, const int rows, const int vectors)
{
    group_sums sums;
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int p = 0; p < WEIGHT_PLANES; p++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sums[r][p][v] = _mm512_setzero_si512();
    add_fours(sums, product, column, rows, WEIGHT_PLANES, vectors, false);
#pragma GCC unroll 3
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            float *at = acc[r] + column + v * LANES;
            const __m512i sum =
                _mm512_add_epi32(_mm512_slli_epi32(sums[r][0][v], 8), sums[r][1][v]);
            _mm512_storeu_ps(at, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum),
                                                 _mm512_set1_ps(factors[r]), _mm512_loadu_ps(at)));
        }
}

INLINE void add_group(const struct product *product, float *const *acc, const float *factors,
                      const int rows, int head_dim)
{
    int column = 0;
    for (; column + PANEL_TOKENS <= head_dim; column += PANEL_TOKENS)
        add_columns(product, acc, factors, column, rows, VECTORS);
    for (; column < head_dim; column += LANES)
        add_columns(product, acc, factors, column, rows, 1);
}

/* acc += probabilities * values over the keys among `lanes`; the others' probabilities are 0. */
static void accumulate(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, uint64_t lanes)
{
    const int head_dim = chunk->args->head_dim;
    const uint16_t *scales = attention_int8_scales(panel->values, head_dim);
    struct weights weights;
    __m512 scale[VECTORS];
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
        scale[v] = scales_at(scales + v * LANES);
    for (int r = 0; r < rows->count; r++)
        weigh_row(&weights, r, chunk->scores + r * PANEL_TOKENS, scale);
    const int first = __builtin_ctzll(lanes) / 4;
    struct product product = {
        .a = (const char *)weights.planes[0][0] + 4 * first,
        .a_stride = WEIGHT_PLANES * PANEL_TOKENS,
        .plane_stride = PANEL_TOKENS,
        .b = panel->values + (size_t)(4 * first) * (size_t)head_dim,
        .b_stride = 4 * head_dim,
        .fours = (63 - __builtin_clzll(lanes)) / 4 + 1 - first,
        .ahead = rows->ahead_values,
        .ahead_lines = chunk->ahead_values,
    };
    for (int row = 0; row < rows->count; row += GROUP_ROWS) {
#define CALL(count) add_group(&product, rows->acc + row, weights.scale + row, count, head_dim)
        EACH_GROUP(rows->count - row, CALL);
#undef CALL
        product.a += GROUP_ROWS * product.a_stride;
        product.ahead_lines = 0;
    }
}

/* ---- tiles ---- */

INLINE void keep(float *scores, const __m512 probabilities[VECTORS])
{
#pragma GCC unroll 4
    for (int v = 0; v < VECTORS; v++)
        _mm512_storeu_ps(scores + v * LANES, probabilities[v]);
}

static const struct arithmetic arithmetic = {.store = keep};

static void fold(const struct attention_chunk *chunk, const struct attention_panel *panel,
                 const struct attention_rows *rows, uint64_t lanes)
{
    softmax_masked(chunk, rows, arithmetic);
    accumulate(chunk, panel, rows, lanes);
}

static void whole(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view)
{
    score(chunk, panel, rows, view, chunk->scores, 0, PANEL_TOKENS);
#define CALL(count) softmax_stored(chunk, rows, NULL, count, arithmetic)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
    accumulate(chunk, panel, rows, ~UINT64_C(0));
}

static const struct attention_tile_ops ops = {
    .operand = DTYPE_F32,
    .cache = DTYPE_INT8,
    .row_bytes = row_bytes,
    .copy_queries = copy_queries,
    .scales_late = true,
    .score = score,
    .fold = fold,
    .whole = whole,
};

static void attend(const struct attention_args *args)
{
    attention_walk(args, &ops);
}

size_t attention_int8_avx512_vnni_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_int8_avx512_vnni_install(struct kernels *kernels)
{
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
}
