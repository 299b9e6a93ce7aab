/* Attention of decode with AVX2: bf16 queries and panels, float32 arithmetic.
 *
 * Both products are the same register tile, up to 6 rows x 16 columns: a vector of bf16 pairs is
 * split into its two float32 vectors by a shift and a mask, which the ports that do not multiply
 * have time for. A row is one (token, head) of the group, so a loaded panel serves all heads.
 * Probabilities stay float32: rounding them would cost time and precision and save nothing here.
 * Every element's sum runs over k in ascending order in one chain, whatever tile it falls into, so
 * a row's result does not depend on its neighbours.
 */
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "kernels/attention_avx2.h"
#include "kernels/variants.h"

enum { STREAM_ROWS = 3 };

static const uint32_t HIGH_HALVES[LANES] = {0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000,
                                            0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000};

/* Vector v of a row of pairs, as the float32 of one half of each pair. `crowded`: the mask is read
 * from memory, no register is left for it. */
static inline __attribute__((always_inline)) __m256 widen(const uint32_t *pairs, int v,
                                                          const bool odd, const bool crowded)
{
    __m256i packed = _mm256_loadu_si256((const __m256i *)(pairs + v * LANES));
    if (!odd)
        return _mm256_castsi256_ps(_mm256_slli_epi32(packed, 16));
    __m256 high = _mm256_castsi256_ps(packed);
    if (!crowded)
        return _mm256_and_ps(high, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000u)));
    __asm__("vandps %1, %0, %0" : "+x"(high) : "m"(HIGH_HALVES));
    return high;
}

/* sum += a * b in place: left to itself, the compiler renames the sums and spills them. */
static inline __m256 multiply_add(__m256 a, __m256 b, __m256 sum)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
}

/* Volatile, or equal loads become one and its register one too many. */
static inline __m256 broadcast(const float *at)
{
    __m256 x;
    __asm__ volatile("vbroadcastss %1, %0" : "=x"(x) : "m"(*at));
    return x;
}

/* One step over k for a tile: every factor times every vector. Few rows hold their factors and take
 * one vector after another, many hold two vectors at a time, so that 12 sums and what is in flight
 * fit into 16 registers. */
static inline __attribute__((always_inline)) void step(__m256 sums[ATTENTION_TILE_ROWS][8],
                                                       const float *a, int64_t a_stride,
                                                       const uint32_t *b, const bool odd,
                                                       const int rows, const int vectors)
{
    if (rows <= STREAM_ROWS) {
        __m256 factors[STREAM_ROWS];
#pragma GCC unroll 3
        for (int r = 0; r < rows; r++)
            factors[r] = broadcast(a + r * a_stride);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m256 vector = widen(b, v, odd, rows == STREAM_ROWS);
#pragma GCC unroll 3
            for (int r = 0; r < rows; r++)
                sums[r][v] = multiply_add(factors[r], vector, sums[r][v]);
        }
        return;
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v += 2) {
        __m256 left = widen(b, v, odd, vectors > 2);
        __m256 right = widen(b, v + 1, odd, vectors > 2);
#pragma GCC unroll 6
        for (int r = 0; r < rows; r++) {
            __m256 factor = broadcast(a + r * a_stride);
            sums[r][v] = multiply_add(factor, left, sums[r][v]);
            sums[r][v + 1] = multiply_add(factor, right, sums[r][v + 1]);
        }
    }
}

static inline __attribute__((always_inline)) void
tile(const struct attention_product *product, int column, const int rows, const int vectors)
{
    __m256 sums[ATTENTION_TILE_ROWS][8];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sums[r][v] = product->accumulate ? _mm256_loadu_ps(product->c[r] + column + v * LANES)
                                             : _mm256_setzero_ps();
    const char *ahead =
        product->ahead + (size_t)(column / 16 * product->ahead_lines) * ATTENTION_LINE;
    const int ahead_lines = vectors / 2 * product->ahead_lines;
    const int lines_a_step =
        rows <= STREAM_ROWS ? (ahead_lines + product->pairs - 1) / product->pairs : 0;
    for (int i = 0; rows > STREAM_ROWS && i < ahead_lines; i++)
        _mm_prefetch(ahead + i * ATTENTION_LINE, _MM_HINT_T0);
    const float *a = product->a;
    const uint32_t *b = product->b + column;
    const int64_t a_stride = product->a_stride;
    for (int k = 0; k < product->pairs; k++, a += 2, b += product->b_stride) {
        for (int i = 0; i < lines_a_step; i++, ahead += ATTENTION_LINE)
            _mm_prefetch(ahead, _MM_HINT_T1);
        step(sums, a, a_stride, b, false, rows, vectors);
        step(sums, a + 1, a_stride, b, true, rows, vectors);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            _mm256_storeu_ps(product->c[r] + column + v * LANES, sums[r][v]);
}

/* In the widest tiles that 16 registers allow. Queries are scaled when they are copied. */
static void multiply(const struct attention_product *product, int rows, int first, int end)
{
    int column = first;
    switch (rows) {
    case 1:
        for (; column + 64 <= end; column += 64)
            tile(product, column, 1, 8);
        for (; column < end; column += 16)
            tile(product, column, 1, 2);
        return;
    case 2:
        for (; column + 32 <= end; column += 32)
            tile(product, column, 2, 4);
        for (; column < end; column += 16)
            tile(product, column, 2, 2);
        return;
    case 3:
        for (; column + 32 <= end; column += 32)
            tile(product, column, 3, 4);
        for (; column < end; column += 16)
            tile(product, column, 3, 2);
        return;
    case 4:
        for (; column < end; column += 16)
            tile(product, column, 4, 2);
        return;
    case 5:
        for (; column < end; column += 16)
            tile(product, column, 5, 2);
        return;
    default:
        for (; column < end; column += 16)
            tile(product, column, 6, 2);
        return;
    }
}

static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view, float *scores,
                  int first, int end)
{
    struct attention_product product;
    float *c[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        c[r] = scores + r * PANEL_TOKENS;
    attention_walk_scores(&product, chunk, panel, rows, view);
    product.c = c;
    multiply(&product, rows->count, first, end);
}

static void accumulate(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, uint64_t lanes)
{
    struct attention_product product;
    attention_walk_values(&product, chunk, panel, rows, lanes, sizeof(float));
    multiply(&product, rows->count, 0, chunk->args->head_dim);
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

static size_t row_bytes(int head_dim)
{
    return (size_t)head_dim * sizeof(float);
}

static void copy_queries(void *out, const void *in, int64_t rows, int head_dim, float scale_log2)
{
    for (int64_t x = 0; x < rows * head_dim; x += LANES) {
        __m128i halves = _mm_loadu_si128((const __m128i *)(const void *)((const uint16_t *)in + x));
        __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16);
        _mm256_store_ps((float *)out + x,
                        _mm256_mul_ps(_mm256_castsi256_ps(wide), _mm256_set1_ps(scale_log2)));
    }
}

static const struct attention_tile_ops ops = {
    .operand = DTYPE_BF16,
    .cache = DTYPE_BF16,
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

static void store_keys(void *record, int64_t row, const float *keys, int kv_heads, int head_dim)
{
    assert(row >= 0 && row < PANEL_TOKENS);
    uint16_t *k = (uint16_t *)record + 2 * row;
    for (int h = 0; h < kv_heads; h++, keys += head_dim, k += PANEL_TOKENS * head_dim)
        for (int d = 0; d < head_dim; d += 2) {
            k[d * PANEL_TOKENS] = dtype_bf16_from_f32(keys[d]);
            k[d * PANEL_TOKENS + 1] = dtype_bf16_from_f32(keys[d + 1]);
        }
}

static void store_values(void *record, int64_t row, const float *values, int kv_heads, int head_dim)
{
    assert(row >= 0 && row < PANEL_TOKENS);
    uint16_t *v = (uint16_t *)record + row / 2 * head_dim * 2 + row % 2;
    for (int h = 0; h < kv_heads; h++, values += head_dim, v += PANEL_TOKENS * head_dim)
        for (int d = 0; d < head_dim; d++)
            v[2 * d] = dtype_bf16_from_f32(values[d]);
}

static void finish(float *out, const float *acc, const float *sum, int64_t rows, int head_dim)
{
    for (int64_t r = 0; r < rows; r++, out += head_dim, acc += head_dim) {
        if (sum[r] == 0) {
            memset(out, 0, (size_t)head_dim * sizeof(float));
            continue;
        }
        const __m256 divisor = _mm256_set1_ps(sum[r]);
        for (int d = 0; d < head_dim; d += LANES)
            _mm256_storeu_ps(out + d, _mm256_div_ps(_mm256_loadu_ps(acc + d), divisor));
    }
}

/* What each side of up to LANES rows is multiplied by; an empty side's acc and sum are 0, and stay
 * so. */
static void merge_factors(const struct attention_merge_args *args, int64_t first, int count,
                          float ours[LANES], float theirs[LANES])
{
    float max[LANES] = {0}, other[LANES] = {0};
    memcpy(max, args->max + first, (size_t)count * sizeof(float));
    memcpy(other, args->other_max + first, (size_t)count * sizeof(float));
    const __m256 a = _mm256_loadu_ps(max), b = _mm256_loadu_ps(other);
    const __m256 top = _mm256_max_ps(a, b), least = _mm256_set1_ps(-125.0f);
    _mm256_storeu_ps(ours, exp2_avx2(_mm256_max_ps(_mm256_sub_ps(a, top), least)));
    _mm256_storeu_ps(theirs, exp2_avx2(_mm256_max_ps(_mm256_sub_ps(b, top), least)));
}

static void merge_row(const struct attention_merge_args *args, int64_t row, float ours,
                      float theirs)
{
    const __m256 a = _mm256_set1_ps(ours), b = _mm256_set1_ps(theirs);
    float *acc = args->acc + row * args->head_dim;
    const float *other = args->other_acc + row * args->head_dim;
    for (int d = 0; d < args->head_dim; d += LANES) {
        __m256 sum = _mm256_mul_ps(_mm256_loadu_ps(acc + d), a);
        _mm256_storeu_ps(acc + d, _mm256_fmadd_ps(_mm256_loadu_ps(other + d), b, sum));
    }
    args->sum[row] = args->sum[row] * ours + args->other_sum[row] * theirs;
    args->max[row] = args->max[row] > args->other_max[row] ? args->max[row] : args->other_max[row];
}

static void merge(const struct attention_merge_args *args)
{
    for (int64_t first = 0; first < args->rows; first += LANES) {
        const int count = args->rows - first < LANES ? (int)(args->rows - first) : LANES;
        float ours[LANES], theirs[LANES];
        merge_factors(args, first, count, ours, theirs);
        for (int r = 0; r < count; r++)
            if (args->other_sum[first + r] != 0)
                merge_row(args, first + r, ours[r], theirs[r]);
    }
}

size_t attention_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    return attention_walk_scratch_bytes(limits, &ops);
}

void attention_avx2_install(struct kernels *kernels)
{
    kernels->attention_store_keys = store_keys;
    kernels->attention_store_values = store_values;
    kernels->attention_decode = attend;
    kernels->attention_merge = merge;
    kernels->attention_finish = finish;
}
