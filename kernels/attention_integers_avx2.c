/* Attention of prefill with AVX2 in 16-bit integers (attention_integers.h).
 *
 * An instruction multiplies 16 pairs of 16-bit numbers and adds them up by twos, a second one adds
 * those to the sums; for floats it is 8. What is made of a panel's keys and values serves all tiles
 * of a chunk. The two products are the same register tile, up to 6 rows x 16 columns; a panel's
 * numbers lie as it reads them, 16 columns of all pairs behind one another.
 */
#include <assert.h>

#include "kernels/attention_avx2.h"
#include "kernels/attention_integers.h"
#include "kernels/variants.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    COLUMNS = 16, /* of a tile */
    BLOCK = 2 * LANES,
    VALUES_TAKEN = 1 << BANDS_FRAMES_MAX, /* beside a bit for each key frame */
};

/* What is made of one head's keys in one frame, or values: numbers [columns / 16][pairs][16][2],
 * and behind them a unit for each of 64 tokens. */
static size_t made_bytes(int head_dim)
{
    return (size_t)PANEL_TOKENS * ((size_t)head_dim * sizeof(int16_t) + sizeof(float));
}

static float *units_of(void *made, int head_dim)
{
    return (float *)(void *)((char *)made +
                             (size_t)PANEL_TOKENS * (size_t)head_dim * sizeof(int16_t));
}

INLINE __m256i load(const void *at)
{
    return _mm256_loadu_si256((const __m256i *)at);
}

INLINE __m256 low_halves(__m256i pairs)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
}

INLINE __m256 high_halves(__m256i pairs)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xffff0000u)));
}

/* Two numbers of each pair, times what makes units of them, as whole ones. */
INLINE __m256i whole_pairs(__m256i pairs, __m256 low, __m256 high)
{
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(low_halves(pairs), low));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(high_halves(pairs), high));
    return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}

INLINE __m256i exponents(__m256 x)
{
    return _mm256_srli_epi32(_mm256_slli_epi32(_mm256_castps_si256(x), 1), 24);
}

/* 2 to what an exponent says; where `bad`, a NaN. */
INLINE __m256 power(__m256i exponent, __m256i bad)
{
    const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(ATTENTION_INTEGERS_NAN));
    return _mm256_blendv_ps(_mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)), nan,
                            _mm256_castsi256_ps(bad));
}

INLINE __m256i inverse(__m256i exponent)
{
    return _mm256_slli_epi32(
        _mm256_sub_epi32(_mm256_set1_epi32(ATTENTION_INTEGERS_UNITS), exponent), 23);
}

/* ---- keys ---- */

/* Of tokens [t, t + 16) of a panel: [head_dim / 2][64] pairs. */
static void take_key_columns(char *made, const uint32_t *keys, int t, int head_dim)
{
    __m256 squares[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    const int pairs = head_dim / 2;
    for (int p = 0; p < pairs; p++)
        for (int half = 0; half < 2; half++) {
            const __m256i x = load(keys + p * PANEL_TOKENS + t + half * LANES);
            squares[half] = _mm256_fmadd_ps(low_halves(x), low_halves(x), squares[half]);
            squares[half] = _mm256_fmadd_ps(high_halves(x), high_halves(x), squares[half]);
        }
    __m256 factor[2];
    for (int half = 0; half < 2; half++) {
        const __m256i exponent = exponents(squares[half]);
        const __m256i unit = _mm256_srli_epi32(
            _mm256_add_epi32(exponent, _mm256_set1_epi32(ATTENTION_INTEGERS_LENGTH)), 1);
        const __m256i bad = _mm256_cmpeq_epi32(exponent, _mm256_set1_epi32(255));
        factor[half] = _mm256_castsi256_ps(inverse(unit));
        _mm256_store_ps(units_of(made, head_dim) + t + half * LANES, power(unit, bad));
    }
    char *to = made + (size_t)t * (size_t)head_dim * sizeof(int16_t);
    for (int p = 0; p < pairs; p++, to += sizeof(uint32_t[COLUMNS]))
        for (int half = 0; half < 2; half++) {
            const __m256i x = load(keys + p * PANEL_TOKENS + t + half * LANES);
            _mm256_store_si256((__m256i *)(void *)(to + half * (int)sizeof(__m256i)),
                               whole_pairs(x, factor[half], factor[half]));
        }
}

/* The panel's keys in a frame, as numbers. */
static char *keys_of(const struct attention_chunk *chunk, const struct attention_panel *panel,
                     int frame)
{
    const int head_dim = chunk->args->head_dim;
    char *made = panel->made + (size_t)(frame + 1) * made_bytes(head_dim);
    if (*panel->taken & 1u << frame)
        return made;
    *panel->taken |= 1u << frame;
    const char *keys = panel->records + (size_t)frame * chunk->args->record_stride;
    for (int t = 0; t < PANEL_TOKENS; t += COLUMNS)
        take_key_columns(made, (const uint32_t *)(const void *)keys, t, head_dim);
    return made;
}

/* ---- values ---- */

/* Whole numbers of probabilities are packed two vectors at a time, which leaves them in another
 * order; pair i of 8 values lies where that puts it. */
static const int PLACES[LANES] = {0, 1, 4, 5, 2, 3, 6, 7};

/* Of pair p of a panel's tokens, [32][head_dim] pairs: its two units, and the numbers. */
static void take_value_pair(char *made, const uint32_t *values, int p, int head_dim)
{
    __m256i most = _mm256_setzero_si256();
    values += (int64_t)p * head_dim;
    for (int d = 0; d < head_dim; d += LANES)
        most =
            _mm256_max_epu16(most, _mm256_and_si256(load(values + d), _mm256_set1_epi16(0x7fff)));
    __m128i half = _mm_max_epu16(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epu16(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_max_epu16(half, _mm_shuffle_epi32(half, 0xb1));
    const unsigned both = (unsigned)_mm_cvtsi128_si32(half);
    float factors[2];
    for (int i = 0; i < 2; i++) {
        const unsigned exponent = both >> (16 * i + 7) & 0xff;
        const unsigned unit =
            (exponent > ATTENTION_INTEGERS_VALUE ? exponent : ATTENTION_INTEGERS_VALUE + 1) -
            ATTENTION_INTEGERS_VALUE;
        factors[i] = dtype_f32_from_bits((ATTENTION_INTEGERS_UNITS - unit) << 23);
        units_of(made, head_dim)[2 * p + i] =
            dtype_f32_from_bits(exponent == 255 ? ATTENTION_INTEGERS_NAN : unit << 23);
    }
    const __m256 low = _mm256_set1_ps(factors[0]), high = _mm256_set1_ps(factors[1]);
    const int place = p / LANES * LANES + PLACES[p % LANES];
    char *to = made + (size_t)place * sizeof(uint32_t[COLUMNS]);
    for (int d = 0; d < head_dim; d += COLUMNS, to += PANEL_TOKENS / 2 * sizeof(uint32_t[COLUMNS]))
        for (int v = 0; v < 2; v++)
            _mm256_store_si256((__m256i *)(void *)(to + v * (int)sizeof(__m256i)),
                               whole_pairs(load(values + d + v * LANES), low, high));
}

static char *values_of(const struct attention_chunk *chunk, const struct attention_panel *panel)
{
    const int head_dim = chunk->args->head_dim;
    if (*panel->taken & VALUES_TAKEN)
        return panel->made;
    *panel->taken |= VALUES_TAKEN;
    for (int p = 0; p < PANEL_TOKENS / 2; p++)
        take_value_pair(panel->made, (const uint32_t *)(const void *)panel->values, p, head_dim);
    return panel->made;
}

/* ---- the register tile ---- */

typedef int32_t __attribute__((may_alias)) pair;

/* sums + the sums of two products, in place: left to itself, the compiler spills the sums. */
INLINE __m256i add_products(__m256i sums, __m256i numbers, __m256i factors)
{
    __m256i products;
    __asm__("vpmaddwd %2, %3, %1\n\tvpaddd %1, %0, %0"
            : "+x"(sums), "=&x"(products)
            : "x"(numbers), "x"(factors));
    return sums;
}

/* Volatile, or equal loads become one and its register one too many. */
INLINE __m256i broadcast(const int16_t *at)
{
    __m256i both;
    __asm__ volatile("vpbroadcastd %1, %0" : "=x"(both) : "m"(*(const pair *)(const void *)at));
    return both;
}

/* sums[r] = sum of a[r][pair] times numbers [pairs][16][2] */
INLINE void multiply(__m256i sums[ATTENTION_TILE_ROWS][2], const int16_t *a, int64_t a_stride,
                     const char *numbers, int pairs, const int rows)
{
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
        sums[r][0] = sums[r][1] = _mm256_setzero_si256();
    for (int p = 0; p < pairs; p++, a += 2, numbers += 2 * sizeof(__m256i)) {
        const __m256i left = _mm256_load_si256((const __m256i *)(const void *)numbers);
        const __m256i right = _mm256_load_si256((const __m256i *)(const void *)numbers + 1);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256i factors = broadcast(a + r * a_stride);
            sums[r][0] = add_products(sums[r][0], left, factors);
            sums[r][1] = add_products(sums[r][1], right, factors);
        }
    }
}

/* ---- scores ---- */

static size_t row_bytes(int head_dim)
{
    return (size_t)head_dim * sizeof(int16_t) + sizeof(float);
}

/* A query's numbers and, behind them, its unit times scale_log2. */
static void copy_query(char *out, const uint16_t *query, int head_dim, float scale_log2)
{
    __m256 squares = _mm256_setzero_ps();
    for (int d = 0; d < head_dim; d += BLOCK) {
        const __m256i x = load(query + d);
        squares = _mm256_fmadd_ps(low_halves(x), low_halves(x), squares);
        squares = _mm256_fmadd_ps(high_halves(x), high_halves(x), squares);
    }
    const float all = lanes_total_avx2(squares);
    const uint32_t unit = (uint32_t)attention_integers_row_unit(all);
    const __m256 factor =
        _mm256_set1_ps(dtype_f32_from_bits((ATTENTION_INTEGERS_UNITS - unit) << 23));
    for (int d = 0; d < head_dim; d += BLOCK)
        _mm256_storeu_si256((__m256i *)(void *)(out + (size_t)d * sizeof(int16_t)),
                            whole_pairs(load(query + d), factor, factor));
    const float scale = attention_integers_row_scale(all) * scale_log2;
    memcpy(out + (size_t)head_dim * sizeof(int16_t), &scale, sizeof scale);
}

static void copy_queries(void *out, const void *in, int64_t rows, int head_dim, float scale_log2)
{
    for (int64_t r = 0; r < rows; r++)
        copy_query((char *)out + (size_t)r * row_bytes(head_dim),
                   (const uint16_t *)in + r * head_dim, head_dim, scale_log2);
}

INLINE void score_rows(float *scores, const char *queries, size_t query_bytes, char *keys,
                       int first, int end, int head_dim, const int rows)
{
    __m256i sums[ATTENTION_TILE_ROWS][2];
    const float *units = units_of(keys, head_dim);
    for (int column = first; column < end; column += COLUMNS) {
        multiply(sums, (const int16_t *)(const void *)queries,
                 (int64_t)(query_bytes / sizeof(int16_t)),
                 keys + (size_t)column * (size_t)head_dim * sizeof(int16_t), head_dim / 2, rows);
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            const __m256 unit = _mm256_load_ps(units + column + v * LANES);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++) {
                const __m256 scale = _mm256_broadcast_ss(
                    (const float *)(const void *)(queries + (size_t)r * query_bytes +
                                                  (size_t)head_dim * sizeof(int16_t)));
                _mm256_store_ps(
                    scores + r * PANEL_TOKENS + column + v * LANES,
                    _mm256_mul_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums[r][v]), scale), unit));
            }
        }
    }
}

static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view, float *scores,
                  int first, int end)
{
    const char *queries = chunk->queries[view.query_frame] + (size_t)rows->first * chunk->row_bytes;
    char *keys = keys_of(chunk, panel, view.key_frame);
#define CALL(count)                                                                                \
    score_rows(scores, queries, chunk->row_bytes, keys, first, end, chunk->args->head_dim, count)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
}

/* ---- the softmax ---- */

/* A tile's probabilities times the units of values, as numbers and what they count in. */
struct weights {
    _Alignas(32) int16_t whole[ATTENTION_TILE_ROWS][PANEL_TOKENS];
    float unit[LANES]; /* of a row */
};

INLINE __m256 larger_or_sum(__m256 a, __m256 b, const bool largest)
{
    return largest ? _mm256_max_ps(a, b) : _mm256_add_ps(a, b);
}

/* The largest element, or the sum, of each row's vector: element r of the result is row r's, and
 * every row's elements are combined in the same order. */
INLINE __m256 across(const __m256 vectors[LANES], const bool largest)
{
    __m256 pairs[4], fours[2];
#pragma GCC unroll 4
    for (int i = 0; i < 3; i++)
        pairs[i] = larger_or_sum(_mm256_unpacklo_ps(vectors[2 * i], vectors[2 * i + 1]),
                                 _mm256_unpackhi_ps(vectors[2 * i], vectors[2 * i + 1]), largest);
    pairs[3] = pairs[2];
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        const __m256d low = _mm256_castps_pd(pairs[2 * i]);
        const __m256d high = _mm256_castps_pd(pairs[2 * i + 1]);
        fours[i] = larger_or_sum(_mm256_castpd_ps(_mm256_unpacklo_pd(low, high)),
                                 _mm256_castpd_ps(_mm256_unpackhi_pd(low, high)), largest);
    }
    return larger_or_sum(_mm256_permute2f128_ps(fours[0], fours[1], 0x20),
                         _mm256_permute2f128_ps(fours[0], fours[1], 0x31), largest);
}

/* The largest score of each lane of a row's vectors. */
INLINE __m256 lanes_max(const float *scores, uint64_t visible, const bool masked)
{
    __m256 s[8];
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        s[v] = _mm256_load_ps(scores + v * LANES);
        if (masked)
            s[v] = hide(s[v], -INFINITY, visible, v);
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; v++)
        s[v] = _mm256_max_ps(s[v], s[v + 4]);
    return _mm256_max_ps(_mm256_max_ps(s[0], s[1]), _mm256_max_ps(s[2], s[3]));
}

/* Of each row, lane by lane. */
struct lanes {
    __m256 sum[LANES];   /* of probabilities */
    __m256 total[LANES]; /* of weights */
    __m256 most[LANES];  /* the largest weight */
};

/* A row's scores -> weights. */
INLINE void weigh_row(struct lanes *lanes, int row, float *scores, const float *units, float max,
                      uint64_t visible, const bool masked)
{
    __m256 sum = _mm256_setzero_ps(), total = sum, most = sum;
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        /* 2^-100 stands for everything below it: beside the 1 of the maximum it is nothing. The
         * larger of two numbers is the second where either is a NaN: it stays one. */
        __m256 x = _mm256_sub_ps(_mm256_load_ps(scores + v * LANES), _mm256_set1_ps(max));
        __m256 p = exp2_avx2(_mm256_max_ps(_mm256_set1_ps(-100.0f), x));
        __m256 weight = _mm256_mul_ps(p, _mm256_load_ps(units + v * LANES));
        if (masked) {
            p = hide(p, 0, visible, v);
            weight = hide(weight, 0, visible, v);
        }
        sum = _mm256_add_ps(sum, p);
        total = _mm256_add_ps(total, weight);
        most = _mm256_max_ps(most, weight);
        _mm256_store_ps(scores + v * LANES, weight);
    }
    lanes->sum[row] = sum;
    lanes->total[row] = total;
    lanes->most[row] = most;
}

/* Exponents less `bits`, and at least 1. */
INLINE __m256i exponents_less(__m256 x, int bits)
{
    return _mm256_sub_epi32(_mm256_max_epi32(exponents(x), _mm256_set1_epi32(bits + 1)),
                            _mm256_set1_epi32(bits));
}

/* Rows' weights -> numbers. A total that is not finite makes its unit a NaN. */
INLINE void round_rows(struct weights *weights, const float *scores, const struct lanes *lanes,
                       const int rows)
{
    const __m256 total = across(lanes->total, false);
    const __m256i unit =
        _mm256_max_epi32(exponents_less(across(lanes->most, true), ATTENTION_INTEGERS_MOST),
                         exponents_less(total, ATTENTION_INTEGERS_TOTAL));
    const __m256 bad = _mm256_cmp_ps(total, _mm256_set1_ps(INFINITY), _CMP_NLT_UQ);
    float factors[LANES];
    _mm256_storeu_ps(weights->unit, power(unit, _mm256_castps_si256(bad)));
    _mm256_storeu_ps(factors, _mm256_castsi256_ps(inverse(unit)));
    for (int r = 0; r < rows; r++, scores += PANEL_TOKENS) {
        const __m256 factor = _mm256_broadcast_ss(factors + r);
#pragma GCC unroll 4
        for (int v = 0; v < 8; v += 2) {
            const __m256 a = _mm256_mul_ps(_mm256_load_ps(scores + v * LANES), factor);
            const __m256 b = _mm256_mul_ps(_mm256_load_ps(scores + (v + 1) * LANES), factor);
            _mm256_store_si256((__m256i *)(void *)(weights->whole[r] + v * LANES),
                               _mm256_packs_epi32(_mm256_cvtps_epi32(a), _mm256_cvtps_epi32(b)));
        }
    }
}

/* The first `rows` elements, of eight that may be read. */
INLINE void store_rows(float *at, __m256 values, int rows)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(at, _mm256_cmpgt_epi32(_mm256_set1_epi32(rows), lane), values);
}

/* Steps the rows' state to new maxima, with the sums of what is added; their old maxima. */
INLINE void step_rows(const struct attention_rows *rows, __m256 before, __m256 after, __m256 sums,
                      int head_dim)
{
    const __m256 rises = _mm256_cmp_ps(after, before, _CMP_GT_OQ);
    const __m256 step = _mm256_and_ps(rises, _mm256_sub_ps(before, after));
    const __m256 factors = exp2_avx2(_mm256_max_ps(_mm256_set1_ps(-125.0f), step));
    store_rows(rows->max, after, rows->count);
    store_rows(rows->sum, _mm256_fmadd_ps(_mm256_loadu_ps(rows->sum), factors, sums), rows->count);
    float factor[LANES];
    _mm256_storeu_ps(factor, factors);
    for (unsigned risen = (unsigned)_mm256_movemask_ps(rises) & ((1u << rows->count) - 1); risen;
         risen &= risen - 1) {
        const int r = __builtin_ctz(risen);
        rescale(rows->acc[r], factor[r], head_dim);
    }
}

/* Scores -> numbers, and the state's step. A row that sees nothing adds nothing. */
INLINE void weigh_rows(struct weights *weights, const struct attention_chunk *chunk,
                       const struct attention_rows *rows, const float *units, const bool masked,
                       const int tile_rows)
{
    __m256 top[LANES];
    struct lanes lanes;
    float max[LANES];
    for (int r = tile_rows; r < LANES; r++)
        top[r] = lanes.sum[r] = lanes.total[r] = lanes.most[r] = _mm256_setzero_ps();
    for (int r = 0; r < tile_rows; r++)
        top[r] = lanes_max(chunk->scores + r * PANEL_TOKENS, rows->visible[r], masked);
    /* The second one, where either is a NaN. */
    const __m256 before = _mm256_loadu_ps(rows->max);
    const __m256 after = _mm256_max_ps(across(top, true), before);
    _mm256_storeu_ps(max, after);
    for (int r = 0; r < tile_rows; r++)
        weigh_row(&lanes, r, chunk->scores + r * PANEL_TOKENS, units, max[r], rows->visible[r],
                  masked);
    round_rows(weights, chunk->scores, &lanes, tile_rows);
    step_rows(rows, before, after, across(lanes.sum, false), chunk->args->head_dim);
}

/* ---- values ---- */

/* acc += numbers times values, over pairs [first, end) of them. */
INLINE void add_rows(float *const *acc, const struct weights *weights, const char *values,
                     int first, int end, int head_dim, const int rows)
{
    __m256i sums[ATTENTION_TILE_ROWS][2];
    values += (size_t)first * sizeof(uint32_t[COLUMNS]);
    for (int column = 0; column < head_dim; column += COLUMNS) {
        multiply(sums, weights->whole[0] + 2 * first, PANEL_TOKENS, values, end - first, rows);
        values += PANEL_TOKENS / 2 * sizeof(uint32_t[COLUMNS]);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            const __m256 unit = _mm256_broadcast_ss(weights->unit + r);
            float *at = acc[r] + column;
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++)
                _mm256_storeu_ps(at + v * LANES,
                                 _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[r][v]), unit,
                                                 _mm256_loadu_ps(at + v * LANES)));
        }
    }
}

/* Over the keys among `lanes`, in whole blocks of 16; the others' numbers are 0. */
INLINE void fold_rows(const struct attention_chunk *chunk, const struct attention_panel *panel,
                      const struct attention_rows *rows, uint64_t lanes, const bool masked,
                      const int tile_rows)
{
    struct weights weights;
    const int head_dim = chunk->args->head_dim;
    char *values = values_of(chunk, panel);
    const int first = __builtin_ctzll(lanes) / 16 * 8;
    const int end = (79 - __builtin_clzll(lanes)) / 16 * 8;
    weigh_rows(&weights, chunk, rows, units_of(values, head_dim), masked, tile_rows);
    add_rows(rows->acc, &weights, values, first, end, head_dim, tile_rows);
}

static void fold(const struct attention_chunk *chunk, const struct attention_panel *panel,
                 const struct attention_rows *rows, uint64_t lanes)
{
#define CALL(count) fold_rows(chunk, panel, rows, lanes, true, count)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
}

static void whole(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view)
{
    score(chunk, panel, rows, view, chunk->scores, 0, PANEL_TOKENS);
#define CALL(count) fold_rows(chunk, panel, rows, ~UINT64_C(0), false, count)
    EACH_COUNT_OF_ROWS(rows->count, CALL);
#undef CALL
}

static size_t panel_bytes(int head_dim)
{
    return (1 + BANDS_FRAMES_MAX) * made_bytes(head_dim);
}

static const struct attention_tile_ops ops = {
    .operand = DTYPE_BF16,
    .cache = DTYPE_BF16,
    .row_bytes = row_bytes,
    .panel_bytes = panel_bytes,
    .copy_queries = copy_queries,
    .score = score,
    .fold = fold,
    .whole = whole,
};

static void attend(const struct attention_args *args)
{
    attention_walk(args, &ops);
}

size_t attention_integers_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_integers_avx2_install(struct kernels *kernels)
{
    kernels->attention_prefill = attend;
}
