/* Attention with AVX2: bf16 queries and panels, float32 arithmetic.
 *
 * Both products are the same register tile, up to 6 rows x 16 columns: a vector of bf16 pairs is
 * split into its two float32 vectors by a shift and a mask, which the ports that do not multiply
 * have time for. A row is one (token, head) of the group, so a loaded panel serves all heads.
 * Probabilities stay float32: rounding them would cost time and precision and save nothing here.
 * Every element's sum runs over k in ascending order in one chain, whatever tile it falls into, so
 * a row's result does not depend on its neighbours; prefill and decode are the same arithmetic.
 */
#include <assert.h>
#include <immintrin.h>
#include <math.h>
#include <string.h>

#include "kernels/exp_avx2.h"
#include "kernels/variants.h"

enum {
    TILE_ROWS = 6,
    LANES = 8,
    SCORES = TILE_ROWS * PANEL_TOKENS,
    LINE = 64,
    NOT_SEEN = -2, /* instead of a query frame */
    MIXED = -1,
};

/* One chunk of a call: at most ATTENTION_ROWS rows, all heads of each of its tokens. */
struct chunk {
    const struct attention_args *args;
    int64_t first; /* its first token within the call */
    int64_t tokens;
    float *queries[BANDS_FRAMES_MAX]; /* [rows, head_dim] times scale_log2; NULL where unused */
    float *scores;                    /* [TILE_ROWS, PANEL_TOKENS], then the probabilities */
    float *other;                     /* [TILE_ROWS, PANEL_TOKENS], of a further query frame */
};

/* One head's panel. */
struct panel {
    const uint32_t *keys;   /* [head_dim / 2, 64] pairs */
    const uint32_t *values; /* [32, head_dim] pairs */
    const char *next;       /* the panel after it, or itself */
    struct span span;       /* of key indices */
};

/* A register tile's worth of rows. */
struct rows {
    int first; /* within the chunk */
    int count;
    const char *ahead; /* its share of the next panel */
    int ahead_lines;   /* for each 16 columns of either product */
    float *acc[TILE_ROWS];
    float *max[TILE_ROWS];
    float *sum[TILE_ROWS];
    uint64_t visible[TILE_ROWS]; /* lanes of the panel */
};

/* c[r][column + x] (+)= sum_k a[r][k] b[k][x] for x < 8 * vectors, k over `pairs` pairs. */
struct product {
    float *const *c;
    const float *a;
    int a_stride;
    const uint32_t *b; /* pairs */
    int b_stride;
    int pairs;
    bool accumulate;
    const char *ahead; /* memory to prefetch meanwhile, `ahead_lines` lines for each 16 columns */
    int ahead_lines;
};

/* Vector v of a row of pairs, as the float32 of one half of each pair. */
static inline __m256 widen(const uint32_t *pairs, int v, bool odd)
{
    const __m256i *at = (const __m256i *)(pairs + v * LANES);
    if (odd)
        return _mm256_castsi256_ps(
            _mm256_and_si256(_mm256_loadu_si256(at), _mm256_set1_epi32((int)0xffff0000u)));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(at), 16));
}

/* sum += a * b in place: left to itself, the compiler renames the sums and spills them. */
static inline __m256 multiply_add(__m256 a, __m256 b, __m256 sum)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(a), "x"(b));
    return sum;
}

/* One step over k for a tile: every factor times every vector. What there is less of is held in
 * registers, so that 12 sums, it and one more fit into 16. */
static inline __attribute__((always_inline)) void step(__m256 sums[TILE_ROWS][8], const float *a,
                                                       int64_t a_stride, const uint32_t *b,
                                                       const bool odd, const int rows,
                                                       const int vectors)
{
    __m256 few[TILE_ROWS];
    const int held = rows < vectors ? rows : vectors;
#pragma GCC unroll 6
    for (int x = 0; x < held; x++)
        few[x] = rows < vectors ? _mm256_broadcast_ss(a + x * a_stride) : widen(b, x, odd);
    if (rows < vectors) {
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++) {
            __m256 vector = widen(b, v, odd);
#pragma GCC unroll 6
            for (int r = 0; r < rows; r++)
                sums[r][v] = multiply_add(few[r], vector, sums[r][v]);
        }
        return;
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++) {
        __m256 factor = _mm256_broadcast_ss(a + r * a_stride);
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sums[r][v] = multiply_add(factor, few[v], sums[r][v]);
    }
}

static inline __attribute__((always_inline)) void tile(const struct product *product, int column,
                                                       const int rows, const int vectors)
{
    __m256 sums[TILE_ROWS][8];
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sums[r][v] = product->accumulate ? _mm256_loadu_ps(product->c[r] + column + v * LANES)
                                             : _mm256_setzero_ps();
    const char *ahead = product->ahead + (size_t)(column / 16 * product->ahead_lines) * LINE;
    for (int i = 0; i < vectors / 2 * product->ahead_lines; i++)
        _mm_prefetch(ahead + i * LINE, _MM_HINT_T0);
    const float *a = product->a;
    const uint32_t *b = product->b + column;
    const int64_t a_stride = product->a_stride;
    for (int k = 0; k < product->pairs; k++, a += 2, b += product->b_stride) {
        step(sums, a, a_stride, b, false, rows, vectors);
        step(sums, a + 1, a_stride, b, true, rows, vectors);
    }
#pragma GCC unroll 6
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            _mm256_storeu_ps(product->c[r] + column + v * LANES, sums[r][v]);
}

/* Columns [first, end), multiples of 16, in the widest tiles that 16 registers allow. */
static void multiply(const struct product *product, int rows, int first, int end)
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

/* All bits of a lane set where the bit of `bits` is. */
static inline __m256 lanes_mask(unsigned bits)
{
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i all = _mm256_and_si256(_mm256_set1_epi32((int)bits), lane);
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(all, lane));
}

static inline float largest(__m256 x)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

static inline float total(__m256 x)
{
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

/* Lanes of vector v of a row that are not visible, put to `hidden`. */
static inline __m256 hide(__m256 x, float hidden, uint64_t visible, int v)
{
    __m256 mask = lanes_mask(visible >> (v * LANES) & 0xff);
    return _mm256_blendv_ps(_mm256_set1_ps(hidden), x, mask);
}

/* The largest visible score of a row, and `max`. */
static inline __attribute__((always_inline)) float row_max(const float *scores, float max,
                                                           uint64_t visible, const bool masked)
{
    __m256 s[8];
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        s[v] = _mm256_load_ps(scores + v * LANES);
        if (masked)
            s[v] = hide(s[v], -INFINITY, visible, v);
    }
    for (int half = 4; half > 0; half /= 2)
#pragma GCC unroll 4
        for (int v = 0; v < half; v++)
            s[v] = _mm256_max_ps(s[v], s[v + half]);
    return fmaxf(max, largest(s[0]));
}

/* Turns a row's scores into probabilities; their sum. */
static inline __attribute__((always_inline)) float row_exp2(float *scores, float max,
                                                            uint64_t visible, const bool masked)
{
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
#pragma GCC unroll 8
    for (int v = 0; v < 8; v++) {
        /* 2^-125 stands for everything below it: beside the 1 of the maximum it is nothing. */
        __m256 x = _mm256_sub_ps(_mm256_load_ps(scores + v * LANES), _mm256_set1_ps(max));
        __m256 p = exp2_avx2(_mm256_max_ps(x, _mm256_set1_ps(-125.0f)));
        if (masked)
            p = hide(p, 0, visible, v);
        sums[v % 2] = _mm256_add_ps(sums[v % 2], p);
        _mm256_store_ps(scores + v * LANES, p);
    }
    return total(_mm256_add_ps(sums[0], sums[1]));
}

static void rescale(float *acc, float factor, int head_dim)
{
    for (int d = 0; d < head_dim; d += LANES)
        _mm256_storeu_ps(acc + d, _mm256_mul_ps(_mm256_loadu_ps(acc + d), _mm256_set1_ps(factor)));
}

/* Scores -> probabilities, and the state's step from its old maximum to the new one. Rows go
 * through each half together, so that one's latency hides behind another's work. */
static inline __attribute__((always_inline)) void
softmax(const struct chunk *chunk, const struct rows *rows, const bool masked)
{
    float after[TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        after[r] =
            row_max(chunk->scores + r * PANEL_TOKENS, *rows->max[r], rows->visible[r], masked);
    for (int r = 0; r < rows->count; r++) {
        float *scores = chunk->scores + r * PANEL_TOKENS;
        float before = *rows->max[r];
        if (masked && rows->visible[r] == 0) {
            memset(scores, 0, PANEL_TOKENS * sizeof(float));
            continue;
        }
        float sum = row_exp2(scores, after[r], masked ? rows->visible[r] : 0, masked);
        if (after[r] > before && before > -INFINITY) {
            float step = fmaxf(before - after[r], -125.0f);
            float factor = _mm256_cvtss_f32(exp2_avx2(_mm256_set1_ps(step)));
            *rows->sum[r] *= factor;
            rescale(rows->acc[r], factor, chunk->args->head_dim);
        }
        *rows->sum[r] += sum;
        *rows->max[r] = after[r];
    }
}

static void softmax_full(const struct chunk *chunk, const struct rows *rows)
{
    softmax(chunk, rows, false);
}

static void softmax_masked(const struct chunk *chunk, const struct rows *rows)
{
    softmax(chunk, rows, true);
}

static void score(const struct chunk *chunk, const struct panel *panel, const struct rows *rows,
                  int frame, float *scores, uint64_t lanes)
{
    int head_dim = chunk->args->head_dim;
    float *c[TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        c[r] = scores + r * PANEL_TOKENS;
    struct product product = {
        .c = c,
        .a = chunk->queries[frame] + (size_t)rows->first * (size_t)head_dim,
        .a_stride = head_dim,
        .b = panel->keys,
        .b_stride = PANEL_TOKENS,
        .pairs = head_dim / 2,
        .ahead = rows->ahead,
        .ahead_lines = rows->ahead_lines,
    };
    int first = __builtin_ctzll(lanes) / 16 * 16;
    int end = (79 - __builtin_clzll(lanes)) / 16 * 16;
    multiply(&product, rows->count, first, end);
}

/* Adds the probabilities times the values of the panel's keys among `lanes`; the others' are 0. */
static void accumulate(const struct chunk *chunk, const struct panel *panel,
                       const struct rows *rows, uint64_t lanes)
{
    int head_dim = chunk->args->head_dim;
    int first = __builtin_ctzll(lanes) / 2;
    int end = (65 - __builtin_clzll(lanes)) / 2;
    struct product product = {
        .c = rows->acc,
        .a = chunk->scores + 2 * first,
        .a_stride = PANEL_TOKENS,
        .b = panel->values + (size_t)first * (size_t)head_dim,
        .b_stride = head_dim,
        .pairs = end - first,
        .accumulate = true,
        .ahead = rows->ahead + (size_t)(PANEL_TOKENS / 16 * rows->ahead_lines) * LINE,
        .ahead_lines = rows->ahead_lines,
    };
    multiply(&product, rows->count, 0, head_dim);
}

/* The lanes of the panel that each row sees through one query frame; their union. */
static uint64_t frame_lanes(const struct chunk *chunk, const struct panel *panel,
                            const struct rows *rows, int frame, uint64_t lanes[TILE_ROWS])
{
    const struct attention_args *args = chunk->args;
    int count = (int)(panel->span.end - panel->span.first);
    uint64_t all = 0;
    for (int r = 0; r < rows->count; r++)
        lanes[r] = 0;
    for (int b = 0; b < args->bands->count; b++) {
        const struct band *band = &args->bands->list[b];
        if (band->rule == BAND_MASK || band->key_frame != args->key_frame ||
            band->query_frame != frame)
            continue;
        for (int r = 0; r < rows->count; r++) {
            int64_t token = chunk->first + (rows->first + r) / args->group;
            lanes[r] |=
                bands_lanes(args->bands, band, args->query_first + token, panel->span.first, count);
            all |= lanes[r];
        }
    }
    return all;
}

/* The scores of a tile that is not seen whole through one frame, and the lanes of each row. */
static uint64_t score_mixed(const struct chunk *chunk, const struct panel *panel, struct rows *rows)
{
    uint64_t any = 0;
    uint64_t lanes[TILE_ROWS];
    memset(rows->visible, 0, sizeof rows->visible);
    for (int frame = 0; frame < BANDS_FRAMES_MAX; frame++) {
        if (!chunk->queries[frame])
            continue;
        uint64_t all = frame_lanes(chunk, panel, rows, frame, lanes);
        if (all == 0)
            continue;
        score(chunk, panel, rows, frame, any ? chunk->other : chunk->scores, all);
        for (int r = 0; r < rows->count; r++) {
            float *to = chunk->scores + r * PANEL_TOKENS;
            const float *from = chunk->other + r * PANEL_TOKENS;
            for (int v = 0; any && v < PANEL_TOKENS; v += LANES) {
                __m256 pick = lanes_mask(lanes[r] >> v & 0xff);
                _mm256_store_ps(to + v, _mm256_blendv_ps(_mm256_load_ps(to + v),
                                                         _mm256_load_ps(from + v), pick));
            }
            rows->visible[r] |= lanes[r];
        }
        any |= all;
    }
    return any;
}

/* Folds one panel into the state of a tile of rows. `frame` is that of a tile seen whole, or MIXED.
 */
static void rows_panel(const struct chunk *chunk, const struct panel *panel, struct rows *rows,
                       int frame)
{
    uint64_t lanes = ~UINT64_C(0);
    if (frame != MIXED) {
        score(chunk, panel, rows, frame, chunk->scores, lanes);
        softmax_full(chunk, rows);
    } else {
        lanes = score_mixed(chunk, panel, rows);
        if (lanes == 0)
            return;
        softmax_masked(chunk, rows);
    }
    accumulate(chunk, panel, rows, lanes);
}

static void rows_at(const struct chunk *chunk, int first, struct rows *rows)
{
    const struct attention_args *args = chunk->args;
    int left = (int)chunk->tokens * args->group - first;
    rows->first = first;
    rows->count = left < TILE_ROWS ? left : TILE_ROWS;
    for (int r = 0; r < rows->count; r++) {
        int64_t token = chunk->first + (first + r) / args->group;
        int head = (first + r) % args->group;
        rows->acc[r] = args->acc + token * args->acc_stride + (int64_t)head * args->head_dim;
        rows->max[r] = args->max + token * args->row_stride + head;
        rows->sum[r] = args->sum + token * args->row_stride + head;
    }
}

/* The tiles of rows fetch the next panel together, spread over their products. */
static void rows_ahead(const struct chunk *chunk, const struct panel *panel, struct rows *rows)
{
    int head_dim = chunk->args->head_dim;
    int tiles = ((int)chunk->tokens * chunk->args->group + TILE_ROWS - 1) / TILE_ROWS;
    int lines = (int)(attention_head_panel_bytes(DTYPE_BF16, head_dim) / LINE);
    int share = (lines + tiles - 1) / tiles;
    int columns = (PANEL_TOKENS + head_dim) / 16;
    rows->ahead_lines = (share + columns - 1) / columns;
    rows->ahead =
        panel->next + (size_t)(rows->first / TILE_ROWS * rows->ahead_lines * columns) * LINE;
}

/* How queries [first, first + tokens) of the call see a panel: its frame, MIXED or NOT_SEEN. */
static int classify(const struct attention_args *args, int64_t first, int64_t tokens,
                    struct span keys)
{
    struct span queries = {args->query_first + first, args->query_first + first + tokens};
    int frame = MIXED;
    enum bands_tile class = bands_classify(args->bands, queries, keys, args->key_frame, &frame);
    if (class == BANDS_SKIP)
        return NOT_SEEN;
    return class == BANDS_FULL && keys.end - keys.first == PANEL_TOKENS ? frame : MIXED;
}

static void chunk_panel(const struct chunk *chunk, const struct panel *panel)
{
    const struct attention_args *args = chunk->args;
    int frame = classify(args, chunk->first, chunk->tokens, panel->span);
    if (frame == NOT_SEEN)
        return;
    int count = (int)chunk->tokens * args->group;
    for (int first = 0; first < count; first += TILE_ROWS) {
        struct rows rows;
        rows_at(chunk, first, &rows);
        rows_ahead(chunk, panel, &rows);
        int rows_frame = frame;
        if (frame == MIXED) {
            int64_t token = first / args->group;
            int64_t end = (first + rows.count - 1) / args->group + 1;
            rows_frame = classify(args, chunk->first + token, end - token, panel->span);
        }
        if (rows_frame != NOT_SEEN)
            rows_panel(chunk, panel, &rows, rows_frame);
    }
}

/* The chunk's queries in every frame that a visible band reads, as float32 times the scale. */
static void expand_queries(struct chunk *chunk, float *scratch)
{
    const struct attention_args *args = chunk->args;
    const __m256 scale = _mm256_set1_ps(args->scale_log2);
    int64_t row_floats = (int64_t)args->group * args->head_dim;
    for (int b = 0; b < args->bands->count; b++) {
        const struct band *band = &args->bands->list[b];
        if (band->rule == BAND_MASK || band->key_frame != args->key_frame ||
            chunk->queries[band->query_frame])
            continue;
        float *out = scratch;
        chunk->queries[band->query_frame] = scratch;
        scratch += chunk->tokens * row_floats;
        for (int64_t t = 0; t < chunk->tokens; t++, out += row_floats) {
            const uint16_t *in = (const uint16_t *)args->queries +
                                 band->query_frame * args->frame_stride +
                                 (chunk->first + t) * args->query_stride;
            for (int64_t x = 0; x < row_floats; x += LANES) {
                __m128i halves = _mm_loadu_si128((const __m128i *)(in + x));
                __m256i wide = _mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16);
                _mm256_store_ps(out + x, _mm256_mul_ps(_mm256_castsi256_ps(wide), scale));
            }
        }
    }
}

static void attend(const struct attention_args *args)
{
    assert(args->key_first % PANEL_TOKENS == 0 && args->head_dim % 16 == 0);
    assert(args->head_dim <= ATTENTION_HEAD_DIM_MAX && args->group <= ATTENTION_ROWS);
    int64_t step = attention_query_tokens(args->group);
    for (int64_t first = 0; first < args->tokens; first += step) {
        struct chunk chunk = {.args = args, .first = first, .scores = args->scratch};
        chunk.tokens = args->tokens - first < step ? args->tokens - first : step;
        chunk.other = chunk.scores + SCORES;
        expand_queries(&chunk, chunk.other + SCORES);
        const char *at = args->panels;
        for (int64_t j = args->key_first; j < args->key_end; j += PANEL_TOKENS) {
            int64_t left = args->key_end - j;
            struct panel panel = {
                .keys = (const uint32_t *)at,
                .values = (const uint32_t *)at + (size_t)args->head_dim / 2 * PANEL_TOKENS,
                .next = at + (left > PANEL_TOKENS ? args->panel_stride : 0),
                .span = {j, j + (left < PANEL_TOKENS ? left : PANEL_TOKENS)},
            };
            chunk_panel(&chunk, &panel);
            at += args->panel_stride;
        }
    }
}

static void store(void *panel, int64_t row, const float *keys, const float *values, int kv_heads,
                  int head_dim)
{
    assert(row >= 0 && row < PANEL_TOKENS);
    for (int h = 0; h < kv_heads; h++, keys += head_dim, values += head_dim) {
        uint16_t *k = (uint16_t *)panel + (size_t)h * 2 * PANEL_TOKENS * (size_t)head_dim;
        uint16_t *v = k + (size_t)PANEL_TOKENS * (size_t)head_dim;
        k += 2 * row;
        v += row / 2 * head_dim * 2 + row % 2;
        for (int d = 0; d < head_dim; d += 2) {
            k[d * PANEL_TOKENS] = dtype_bf16_from_f32(keys[d]);
            k[d * PANEL_TOKENS + 1] = dtype_bf16_from_f32(keys[d + 1]);
        }
        for (int d = 0; d < head_dim; d++)
            v[2 * d] = dtype_bf16_from_f32(values[d]);
    }
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

size_t attention_avx2_scratch_bytes(const struct kernels_limits *limits)
{
    int64_t rows = attention_query_tokens(limits->group) * limits->group;
    return (size_t)(2 * SCORES + BANDS_FRAMES_MAX * rows * limits->head_dim) * sizeof(float);
}

void attention_avx2_install(struct kernels *kernels)
{
    kernels->attention_store = store;
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
    kernels->attention_finish = finish;
}
