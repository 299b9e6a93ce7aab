/* Attention of training on tensor cores of sm_80 and up, forward and back. Promises that each
 * number is added up by one thread in one sequence, and that a score is computed anew rather than
 * kept: queries' gradients and keys' are two kernels, which take seven products a pair of tiles
 * where one with atomics would take five.
 *
 * All three kernels are the same two steps. A warp has sixteen rows of the tile that stays:
 * queries, or on the way to keys' gradients keys. It multiplies them by all rows of the tile that
 * passes by (multiply), makes probabilities or their gradients of the scores where they lie, and
 * adds what they weigh of that tile's rows to its sums (accumulate). */
#include <math.h>

#include "kernels/kernels_cuda.h"
#include "kernels/mma_cuda.cuh"
#include "kernels/mma_layout.h"
#include "kernels/variants_cuda.h"

enum {
    WARPS = 4,
    THREADS = 32 * WARPS,
    ROWS = 16 * WARPS, /* of the tile that stays */
    KEYS = KERNELS_CUDA_TRAIN_KEYS,
};

static_assert(THREADS >= ROWS, "a thread fetches the range of a row");

#define LN2 0.693147180559945309417f

/* Of heads up to HEAD_DIM wide; narrower ones are padded with zeros that are never read. */
template <int HEAD_DIM> struct train_shape {
    enum {
        CHUNKS = HEAD_DIM / MMA_LAYOUT_CHUNK,
        STEPS = HEAD_DIM / 16,
        ROW_BYTES = HEAD_DIM * 2,
        TILE_BYTES = ROWS * ROW_BYTES,
        KEYS_BYTES = KEYS * ROW_BYTES,
        FORWARD_BYTES = TILE_BYTES + 4 * KEYS_BYTES,
        QUERIES_BYTES = 2 * TILE_BYTES + 4 * KEYS_BYTES,
        /* Of the way to keys' gradients: queries that pass by, and columns of a block's sums. */
        QUERIES = HEAD_DIM > 64 ? 32 : 64,
        PASSING_BYTES = QUERIES * ROW_BYTES,
        COLUMNS = HEAD_DIM > 128 ? 128 : HEAD_DIM,
        BACK_BYTES = 2 * TILE_BYTES + 4 * PASSING_BYTES,
    };
};

struct train_params {
    struct kernels_cuda_operands operands;
    const char *dout;
    const float *logsumexp, *dot;
    float *out, *out_logsumexp; /* of the way forward */
    float *dq, *dk, *dv;
    int tiles; /* of queries */
    int group;
    int head_first, kv_first;
};

/* ---- tiles ---- */

/* `rows` rows of `row_bytes` into a swizzled tile of MOST rows; zeros beyond. */
template <int HEAD_DIM, int MOST>
static __device__ __forceinline__ void copy_rows(uint32_t to, const char *from, int64_t row_bytes,
                                                 int64_t rows, int head_dim)
{
    typedef train_shape<HEAD_DIM> shape;
    const int thread = threadIdx.x / 32 * 32 + mma_lane();
#pragma unroll
    for (int i = 0; i < (MOST * shape::CHUNKS + THREADS - 1) / THREADS; i++) {
        const int place = i * THREADS + thread;
        const int row = place / shape::CHUNKS, chunk = place % shape::CHUNKS;
        const bool there = row < rows && chunk * MMA_LAYOUT_CHUNK < head_dim;
        if (row < MOST)
            mma_copy(to + mma_layout_place(shape::CHUNKS, row, chunk) * 16,
                     there ? from + row * row_bytes + chunk * 16 : from, there);
    }
}

/* Rows [row, row + MOST) of one head of [rows, heads, head_dim]. */
template <int HEAD_DIM, int MOST>
static __device__ __forceinline__ void copy_head(uint32_t to, const void *from, int heads, int head,
                                                 int64_t row, int64_t rows, int head_dim)
{
    const int64_t row_bytes = (int64_t)heads * head_dim * 2;
    copy_rows<HEAD_DIM, MOST>(to, (const char *)from + row * row_bytes + head * head_dim * 2,
                              row_bytes, rows - row, head_dim);
}

/* c [16, 8 * TILES] = this warp's rows of `left` x all rows of `right`, over a head's width. */
template <int HEAD_DIM, int TILES>
static __device__ __forceinline__ void multiply(float c[TILES][4], uint32_t left, uint32_t right)
{
    typedef train_shape<HEAD_DIM> shape;
    const int lane = mma_lane(), row = threadIdx.x / 32 * 16 + mma_layout_query_row(lane);
#pragma unroll
    for (int i = 0; i < TILES * 4; i++)
        (&c[0][0])[i] = 0;
#pragma unroll 4
    for (int step = 0; step < shape::STEPS; step++) {
        uint32_t a[4];
        mma_load(a,
                 left +
                     mma_layout_place(shape::CHUNKS, row, mma_layout_query_chunk(lane, step)) * 16);
#pragma unroll
        for (int pair = 0; pair < TILES / 2; pair++) {
            uint32_t b[4];
            mma_load(b,
                     right + mma_layout_place(shape::CHUNKS, pair * 16 + mma_layout_key_row(lane),
                                              mma_layout_key_chunk(lane, step)) *
                                 16);
            mma_multiply(mma_bf16(), c[2 * pair], a, b);
            mma_multiply(mma_bf16(), c[2 * pair + 1], a, b + 2);
        }
    }
}

/* sums [16, COLUMNS] += c, rounded, x all rows of `right`, its columns from 8 * chunk on. */
template <int HEAD_DIM, int COLUMNS, int TILES>
static __device__ __forceinline__ void
accumulate(float sums[COLUMNS / 8][4], const float c[TILES][4], uint32_t right, int chunk)
{
    typedef train_shape<HEAD_DIM> shape;
    const int lane = mma_lane();
#pragma unroll
    for (int step = 0; step < TILES / 2; step++) {
        uint32_t a[4];
#pragma unroll
        for (int r = 0; r < 4; r++) {
            const float *pair = &c[2 * step + r / 2][r % 2 * 2];
            a[r] = mma_pack(mma_bf16(), pair[0], pair[1]);
        }
#pragma unroll
        for (int pair = 0; pair < COLUMNS / 16; pair++) {
            uint32_t b[4];
            mma_load_transposed(
                b, right + mma_layout_place(shape::CHUNKS, step * 16 + mma_layout_value_row(lane),
                                            chunk + mma_layout_value_chunk(lane, pair)) *
                               16);
            mma_multiply(mma_bf16(), sums[2 * pair], a, b);
            mma_multiply(mma_bf16(), sums[2 * pair + 1], a, b + 2);
        }
    }
}

/* ---- what rows see ---- */

struct range {
    int32_t first, end;
};

static __device__ __forceinline__ struct range range_of(const struct kernels_cuda_sight *sight,
                                                        int regime, int64_t row, int64_t rows)
{
    struct range range = {0, 0};
    if (row < rows) {
        range.first = sight->first[regime * rows + row];
        range.end = sight->end[regime * rows + row];
    }
    return range;
}

static __device__ __forceinline__ bool sees(struct range range, int64_t key)
{
    return range.first <= key && key < range.end;
}

/* From the step of keys that holds the first key that any row sees to the last such key. */
static __device__ __forceinline__ struct range span_of(const struct range ranges[ROWS])
{
    struct range span = {INT32_MAX, 0};
    for (int r = 0; r < ROWS; r++) {
        if (ranges[r].first >= ranges[r].end)
            continue;
        span.first = ranges[r].first < span.first ? ranges[r].first : span.first;
        span.end = ranges[r].end > span.end ? ranges[r].end : span.end;
    }
    span.first -= span.first % KEYS;
    return span;
}

/* ---- queries that stay, keys that pass by ---- */

/* One head of a tile of queries. */
struct queries_tile {
    int64_t row;
    int head, kv_head;
};

/* Late queries see most, and go first. */
static __device__ __forceinline__ struct queries_tile
queries_tile_of(const struct train_params *params)
{
    struct queries_tile tile;
    tile.row = (int64_t)(params->tiles - 1 - (int)blockIdx.x) * ROWS;
    tile.head = params->head_first + (int)blockIdx.y;
    tile.kv_head = tile.head / params->group;
    return tile;
}

/* Keys and values from `key` on into slot `slot` of two; nothing behind the span's end. */
template <int HEAD_DIM>
static __device__ __forceinline__ void copy_keys(const struct kernels_cuda_operands *operands,
                                                 uint32_t slots, int slot, int regime, int kv_head,
                                                 int64_t key, int64_t end)
{
    typedef train_shape<HEAD_DIM> shape;
    const uint32_t to = slots + slot * 2 * shape::KEYS_BYTES;
    if (key < end) {
        const char *keys = (const char *)operands->k +
                           operands->sight.key_frame[regime] * operands->k_frame_stride * 2;
        copy_head<HEAD_DIM, KEYS>(to, keys, operands->kv_heads, kv_head, key, operands->keys,
                                  operands->head_dim);
        copy_head<HEAD_DIM, KEYS>(to + shape::KEYS_BYTES, operands->v, operands->kv_heads, kv_head,
                                  key, operands->keys, operands->head_dim);
    }
    mma_copy_commit();
}

/* Scores -> probabilities, where a row sees the key; steps maximum, sum and acc of every row. */
template <int HEAD_DIM>
static __device__ __forceinline__ void
softmax(float acc[HEAD_DIM / 8][4], float max[2], float sum[2], float scores[KEYS / 8][4],
        const struct range ranges[2], int64_t key, float scale_log2)
{
    const int lane = mma_lane();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float top = -INFINITY;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) {
                if (!sees(ranges[h], key + n * 8 + mma_layout_c_column(lane, e)))
                    scores[n][e] = -INFINITY;
                top = fmaxf(top, scores[n][e]);
            }
        }
        top = fmaxf(max[h], mma_quad_max(top) * scale_log2);
        /* A row that has seen nothing yet has no maximum to take off. */
        const float base = top == -INFINITY ? 0 : top;
        const float rescale = mma_exp2(max[h] - base);
        float added = 0;
#pragma unroll
        for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
            for (int e = 2 * h; e < 2 * h + 2; e++) {
                scores[n][e] = mma_exp2(fmaf(scores[n][e], scale_log2, -base));
                added += scores[n][e];
            }
        }
        max[h] = top;
        sum[h] = sum[h] * rescale + added;
#pragma unroll
        for (int n = 0; n < HEAD_DIM / 8; n++) {
            acc[n][2 * h] *= rescale;
            acc[n][2 * h + 1] *= rescale;
        }
    }
}

/* Two rows of a warp's sums times a factor each, into one head of [rows, heads, head_dim]. */
template <int COLUMNS>
static __device__ __forceinline__ void store(float *out, const float sums[COLUMNS / 8][4],
                                             const float factors[2], int64_t row, int64_t rows,
                                             int64_t row_stride, int columns)
{
    const int lane = mma_lane();
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int64_t at = row + mma_layout_c_row(lane, 2 * h);
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++) {
            const int column = n * 8 + mma_layout_c_column(lane, 2 * h);
            if (at < rows && column < columns)
                *(float2 *)(out + at * row_stride + column) =
                    make_float2(sums[n][2 * h] * factors[h], sums[n][2 * h + 1] * factors[h]);
        }
    }
}

template <int HEAD_DIM>
__global__ void __launch_bounds__(THREADS, 2)
    attention_train_kernel(const __grid_constant__ struct train_params params)
{
    typedef train_shape<HEAD_DIM> shape;
    extern __shared__ __align__(128) char shared[];
    __shared__ struct range ranges[ROWS];
    const struct kernels_cuda_operands *operands = &params.operands;
    const struct queries_tile tile = queries_tile_of(&params);
    const uint32_t queries = mma_shared(shared), slots = queries + shape::TILE_BYTES;
    const int64_t warp_row = threadIdx.x / 32 * 16;
    float acc[HEAD_DIM / 8][4], max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
    int frame = -1;
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8 * 4; i++)
        (&acc[0][0])[i] = 0;
    for (int regime = 0; regime < operands->sight.count; regime++) {
        __syncthreads(); /* of the regime before, all is done with */
        if (threadIdx.x < ROWS)
            ranges[threadIdx.x] =
                range_of(&operands->sight, regime, tile.row + threadIdx.x, operands->rows);
        __syncthreads();
        const struct range span = span_of(ranges);
        if (span.first >= span.end)
            continue;
        if (operands->sight.query_frame[regime] != frame) {
            frame = operands->sight.query_frame[regime];
            copy_head<HEAD_DIM, ROWS>(
                queries, (const char *)operands->q + frame * operands->q_frame_stride * 2,
                operands->heads, tile.head, tile.row, operands->rows, operands->head_dim);
        }
        copy_keys<HEAD_DIM>(operands, slots, 0, regime, tile.kv_head, span.first, span.end);
        int slot = 0;
        for (int64_t key = span.first; key < span.end; key += KEYS, slot ^= 1) {
            const uint32_t keys = slots + slot * 2 * shape::KEYS_BYTES;
            const int row = (int)warp_row + mma_layout_c_row(mma_lane(), 0);
            const struct range seen[2] = {ranges[row], ranges[row + 8]};
            float scores[KEYS / 8][4];
            copy_keys<HEAD_DIM>(operands, slots, slot ^ 1, regime, tile.kv_head, key + KEYS,
                                span.end);
            mma_copy_wait<1>();
            __syncthreads(); /* this step's keys and values are here */
            multiply<HEAD_DIM, KEYS / 8>(scores, queries, keys);
            softmax<HEAD_DIM>(acc, max, sum, scores, seen, key, operands->scale_log2);
            accumulate<HEAD_DIM, HEAD_DIM, KEYS / 8>(acc, scores, keys + shape::KEYS_BYTES, 0);
            __syncthreads(); /* and done with */
        }
    }
    float factors[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int64_t row = tile.row + warp_row + mma_layout_c_row(mma_lane(), 2 * h);
        const float all = mma_quad_sum(sum[h]);
        factors[h] = all == 0 ? 0 : 1 / all;
        if (row < operands->rows && mma_lane() % 4 == 0)
            params.out_logsumexp[row * operands->heads + tile.head] = max[h] + log2f(all);
    }
    store<HEAD_DIM>(params.out + tile.head * operands->head_dim, acc, factors, tile.row + warp_row,
                    operands->rows, (int64_t)operands->heads * operands->head_dim,
                    operands->head_dim);
}

/* A block has one head of a tile of queries in one frame. */
template <int HEAD_DIM>
__global__ void __launch_bounds__(THREADS, 2)
    attention_query_gradient_kernel(const __grid_constant__ struct train_params params)
{
    typedef train_shape<HEAD_DIM> shape;
    extern __shared__ __align__(128) char shared[];
    __shared__ struct range ranges[ROWS];
    const struct kernels_cuda_operands *operands = &params.operands;
    const struct queries_tile tile = queries_tile_of(&params);
    const int frame = (int)blockIdx.z;
    const uint32_t queries = mma_shared(shared), flow = queries + shape::TILE_BYTES;
    const uint32_t slots = flow + shape::TILE_BYTES;
    const int64_t warp_row = threadIdx.x / 32 * 16;
    float sums[HEAD_DIM / 8][4], logsumexp[2] = {0, 0}, dot[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 8 * 4; i++)
        (&sums[0][0])[i] = 0;
#pragma unroll
    for (int h = 0; h < 2; h++) {
        const int64_t row = tile.row + warp_row + mma_layout_c_row(mma_lane(), 2 * h);
        if (row < operands->rows) {
            logsumexp[h] = params.logsumexp[row * operands->heads + tile.head];
            dot[h] = params.dot[row * operands->heads + tile.head];
        }
    }
    copy_head<HEAD_DIM, ROWS>(
        queries, (const char *)operands->q + frame * operands->q_frame_stride * 2, operands->heads,
        tile.head, tile.row, operands->rows, operands->head_dim);
    copy_head<HEAD_DIM, ROWS>(flow, params.dout, operands->heads, tile.head, tile.row,
                              operands->rows, operands->head_dim);
    for (int regime = 0; regime < operands->sight.count; regime++) {
        if (operands->sight.query_frame[regime] != frame)
            continue;
        __syncthreads(); /* of the regime before, all is done with */
        if (threadIdx.x < ROWS)
            ranges[threadIdx.x] =
                range_of(&operands->sight, regime, tile.row + threadIdx.x, operands->rows);
        __syncthreads();
        const struct range span = span_of(ranges);
        if (span.first >= span.end)
            continue;
        copy_keys<HEAD_DIM>(operands, slots, 0, regime, tile.kv_head, span.first, span.end);
        int slot = 0;
        for (int64_t key = span.first; key < span.end; key += KEYS, slot ^= 1) {
            const uint32_t keys = slots + slot * 2 * shape::KEYS_BYTES;
            const int lane = mma_lane(), row = (int)warp_row + mma_layout_c_row(lane, 0);
            const struct range seen[2] = {ranges[row], ranges[row + 8]};
            float scores[KEYS / 8][4], flows[KEYS / 8][4];
            copy_keys<HEAD_DIM>(operands, slots, slot ^ 1, regime, tile.kv_head, key + KEYS,
                                span.end);
            mma_copy_wait<1>();
            __syncthreads(); /* this step's keys and values are here */
            multiply<HEAD_DIM, KEYS / 8>(scores, queries, keys);
            multiply<HEAD_DIM, KEYS / 8>(flows, flow, keys + shape::KEYS_BYTES);
#pragma unroll
            for (int n = 0; n < KEYS / 8; n++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    const bool there =
                        sees(seen[e / 2], key + n * 8 + mma_layout_c_column(lane, e));
                    const float p =
                        mma_exp2(fmaf(scores[n][e], operands->scale_log2, -logsumexp[e / 2]));
                    scores[n][e] = there ? p * (flows[n][e] - dot[e / 2]) : 0;
                }
            }
            accumulate<HEAD_DIM, HEAD_DIM, KEYS / 8>(sums, scores, keys, 0);
            __syncthreads(); /* and done with */
        }
    }
    mma_copy_wait<0>();
    const float scale = operands->scale_log2 * LN2, factors[2] = {scale, scale};
    store<HEAD_DIM>(params.dq + frame * operands->q_frame_stride + tile.head * operands->head_dim,
                    sums, factors, tile.row + warp_row, operands->rows,
                    (int64_t)operands->heads * operands->head_dim, operands->head_dim);
}

/* ---- keys that stay, queries that pass by ---- */

/* What a tile of queries brings, two of them: one in use, one on its way. */
template <int HEAD_DIM> struct passing_rows {
    struct range ranges[train_shape<HEAD_DIM>::QUERIES];
    float logsumexp[train_shape<HEAD_DIM>::QUERIES], dot[train_shape<HEAD_DIM>::QUERIES];
};

/* A tile of queries among those of all heads of the group and all regimes. */
struct passing_place {
    int regime, head;
    int64_t row;
};

template <int HEAD_DIM>
static __device__ __forceinline__ struct passing_place
passing_place_of(const struct train_params *params, int64_t number, int kv_head)
{
    const int64_t tiles = (params->operands.rows + train_shape<HEAD_DIM>::QUERIES - 1) /
                          train_shape<HEAD_DIM>::QUERIES;
    struct passing_place place;
    place.row = number % tiles * train_shape<HEAD_DIM>::QUERIES;
    place.regime = (int)(number / tiles % params->operands.sight.count);
    place.head = kv_head * params->group + (int)(number / tiles / params->operands.sight.count);
    return place;
}

/* The next tile from `number` on that sees one of the keys from `key` on in `frame`, or `count`.
 * All threads call it; then nobody reads what was in the place of `passing` any more. */
template <int HEAD_DIM>
static __device__ __forceinline__ int64_t find_passing(struct passing_rows<HEAD_DIM> *passing,
                                                       int *found,
                                                       const struct train_params *params,
                                                       int64_t number, int64_t count, int frame,
                                                       int64_t key, int kv_head)
{
    const struct kernels_cuda_operands *operands = &params->operands;
    for (; number < count; number++) {
        const struct passing_place place = passing_place_of<HEAD_DIM>(params, number, kv_head);
        if (operands->sight.key_frame[place.regime] != frame)
            continue;
        __syncthreads();
        if (threadIdx.x == 0)
            *found = 0;
        __syncthreads();
        if (threadIdx.x < train_shape<HEAD_DIM>::QUERIES) {
            const int64_t row = place.row + threadIdx.x;
            const struct range range =
                range_of(&operands->sight, place.regime, row, operands->rows);
            passing->ranges[threadIdx.x] = range;
            if (range.first < range.end && range.first < key + ROWS && key < range.end)
                *found = 1;
            if (row < operands->rows) {
                const int64_t at = row * operands->heads + place.head;
                passing->logsumexp[threadIdx.x] = params->logsumexp[at];
                passing->dot[threadIdx.x] = params->dot[at];
            }
        }
        __syncthreads();
        if (*found)
            return number;
    }
    __syncthreads();
    return count;
}

template <int HEAD_DIM>
static __device__ __forceinline__ void copy_passing(const struct train_params *params,
                                                    uint32_t slots, int slot, int64_t number,
                                                    int64_t count, int kv_head)
{
    typedef train_shape<HEAD_DIM> shape;
    const struct kernels_cuda_operands *operands = &params->operands;
    const uint32_t to = slots + slot * 2 * shape::PASSING_BYTES;
    if (number < count) {
        const struct passing_place place = passing_place_of<HEAD_DIM>(params, number, kv_head);
        const char *queries =
            (const char *)operands->q +
            operands->sight.query_frame[place.regime] * operands->q_frame_stride * 2;
        copy_head<HEAD_DIM, shape::QUERIES>(to, queries, operands->heads, place.head, place.row,
                                            operands->rows, operands->head_dim);
        copy_head<HEAD_DIM, shape::QUERIES>(to + shape::PASSING_BYTES, params->dout,
                                            operands->heads, place.head, place.row, operands->rows,
                                            operands->head_dim);
    }
    mma_copy_commit();
}

/* Scores of keys by queries -> probabilities; flows -> gradients of scores. */
template <int HEAD_DIM>
static __device__ __forceinline__ void
differentiate(float scores[train_shape<HEAD_DIM>::QUERIES / 8][4],
              float flows[train_shape<HEAD_DIM>::QUERIES / 8][4],
              const struct passing_rows<HEAD_DIM> *passing, int64_t key, float scale_log2)
{
    const int lane = mma_lane();
#pragma unroll
    for (int n = 0; n < train_shape<HEAD_DIM>::QUERIES / 8; n++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int row = n * 8 + mma_layout_c_column(lane, e);
            const bool there = sees(passing->ranges[row], key + mma_layout_c_row(lane, e));
            const float p = mma_exp2(fmaf(scores[n][e], scale_log2, -passing->logsumexp[row]));
            scores[n][e] = there ? p : 0;
            flows[n][e] = there ? p * (flows[n][e] - passing->dot[row]) : 0;
        }
    }
}

/* A block has one KV head of a tile of keys, and COLUMNS columns of the sums. */
template <int HEAD_DIM>
__global__ void __launch_bounds__(THREADS, 2)
    attention_key_gradient_kernel(const __grid_constant__ struct train_params params)
{
    typedef train_shape<HEAD_DIM> shape;
    extern __shared__ __align__(128) char shared[];
    __shared__ struct passing_rows<HEAD_DIM> passing[2];
    __shared__ int found;
    const struct kernels_cuda_operands *operands = &params.operands;
    const int kv_head = params.kv_first + (int)blockIdx.y,
              column = (int)blockIdx.z * shape::COLUMNS;
    const int64_t key = (int64_t)blockIdx.x * ROWS, warp_key = key + threadIdx.x / 32 * 16;
    const uint32_t keys = mma_shared(shared), values = keys + shape::TILE_BYTES;
    const uint32_t slots = values + shape::TILE_BYTES;
    const int64_t tiles = (operands->rows + shape::QUERIES - 1) / shape::QUERIES;
    const int64_t count = tiles * operands->sight.count * params.group;
    const int64_t row_stride = (int64_t)operands->kv_heads * operands->head_dim;
    const int64_t at = kv_head * operands->head_dim + column;
    const float scale = operands->scale_log2 * LN2;
    const float scales[2] = {scale, scale}, ones[2] = {1, 1};
    float dk[shape::COLUMNS / 8][4], dv[shape::COLUMNS / 8][4];
#pragma unroll
    for (int i = 0; i < shape::COLUMNS / 8 * 4; i++)
        (&dv[0][0])[i] = 0;
    copy_head<HEAD_DIM, ROWS>(values, operands->v, operands->kv_heads, kv_head, key, operands->keys,
                              operands->head_dim);
    for (int frame = 0; frame < operands->key_frames; frame++) {
#pragma unroll
        for (int i = 0; i < shape::COLUMNS / 8 * 4; i++)
            (&dk[0][0])[i] = 0;
        int slot = 0;
        int64_t number =
            find_passing<HEAD_DIM>(&passing[0], &found, &params, 0, count, frame, key, kv_head);
        copy_head<HEAD_DIM, ROWS>(
            keys, (const char *)operands->k + frame * operands->k_frame_stride * 2,
            operands->kv_heads, kv_head, key, operands->keys, operands->head_dim);
        copy_passing<HEAD_DIM>(&params, slots, 0, number, count, kv_head);
        while (number < count) {
            const uint32_t queries = slots + slot * 2 * shape::PASSING_BYTES;
            float scores[shape::QUERIES / 8][4], flows[shape::QUERIES / 8][4];
            number = find_passing<HEAD_DIM>(&passing[slot ^ 1], &found, &params, number + 1, count,
                                            frame, key, kv_head);
            copy_passing<HEAD_DIM>(&params, slots, slot ^ 1, number, count, kv_head);
            mma_copy_wait<1>();
            __syncthreads(); /* these queries are here */
            multiply<HEAD_DIM, shape::QUERIES / 8>(scores, keys, queries);
            multiply<HEAD_DIM, shape::QUERIES / 8>(flows, values, queries + shape::PASSING_BYTES);
            differentiate<HEAD_DIM>(scores, flows, &passing[slot], warp_key, operands->scale_log2);
            accumulate<HEAD_DIM, shape::COLUMNS, shape::QUERIES / 8>(
                dv, scores, queries + shape::PASSING_BYTES, column / MMA_LAYOUT_CHUNK);
            accumulate<HEAD_DIM, shape::COLUMNS, shape::QUERIES / 8>(dk, flows, queries,
                                                                     column / MMA_LAYOUT_CHUNK);
            slot ^= 1;
        }
        mma_copy_wait<0>();
        __syncthreads(); /* before keys of the next frame take these ones' place */
        store<shape::COLUMNS>(params.dk + frame * operands->k_frame_stride + at, dk, scales,
                              warp_key, operands->keys, row_stride, operands->head_dim - column);
    }
    store<shape::COLUMNS>(params.dv + at, dv, ones, warp_key, operands->keys, row_stride,
                          operands->head_dim - column);
}

/* ---- launches ---- */

static bool params_make(struct train_params *params, const struct kernels_cuda_operands *operands)
{
    const int64_t tiles = (operands->rows + ROWS - 1) / ROWS;
    const int kv_count = kernels_cuda_heads_count(operands->computed, operands->kv_heads);
    if (operands->head_dim < 16 || operands->head_dim % 16 != 0 ||
        operands->head_dim > ATTENTION_HEAD_DIM_MAX || operands->kv_heads < 1 ||
        operands->heads % operands->kv_heads != 0 || kv_count == 0 || operands->heads > 65535 ||
        operands->rows < 0 || operands->keys < 0 || operands->keys > INT32_MAX - ROWS ||
        tiles > INT32_MAX || operands->sight.count < 0 || operands->sight.count > BANDS_MAX ||
        operands->query_frames < 1 || operands->query_frames > BANDS_FRAMES_MAX ||
        operands->key_frames < 1 || operands->key_frames > BANDS_FRAMES_MAX)
        return false;
    params->operands = *operands;
    params->tiles = (int)tiles;
    params->group = operands->heads / operands->kv_heads;
    params->kv_first = operands->computed.first;
    params->head_first = operands->computed.first * params->group;
    return true;
}

static int heads_of(const struct train_params *params)
{
    return params->group *
           kernels_cuda_heads_count(params->operands.computed, params->operands.kv_heads);
}

static int reserve(const void *kernel, int bytes)
{
    return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes);
}

template <int HEAD_DIM> static int forward(const struct train_params *params, cudaStream_t stream)
{
    typedef train_shape<HEAD_DIM> shape;
    const int error = reserve((const void *)attention_train_kernel<HEAD_DIM>, shape::FORWARD_BYTES);
    if (error != cudaSuccess || params->tiles == 0)
        return error;
    const dim3 grid((unsigned)params->tiles, (unsigned)heads_of(params));
    attention_train_kernel<HEAD_DIM><<<grid, THREADS, shape::FORWARD_BYTES, stream>>>(*params);
    return cudaGetLastError();
}

template <int HEAD_DIM>
static int query_gradient(const struct train_params *params, cudaStream_t stream)
{
    typedef train_shape<HEAD_DIM> shape;
    const int error =
        reserve((const void *)attention_query_gradient_kernel<HEAD_DIM>, shape::QUERIES_BYTES);
    if (error != cudaSuccess || params->tiles == 0)
        return error;
    const dim3 grid((unsigned)params->tiles, (unsigned)heads_of(params),
                    (unsigned)params->operands.query_frames);
    attention_query_gradient_kernel<HEAD_DIM>
        <<<grid, THREADS, shape::QUERIES_BYTES, stream>>>(*params);
    return cudaGetLastError();
}

template <int HEAD_DIM>
static int key_gradient(const struct train_params *params, cudaStream_t stream)
{
    typedef train_shape<HEAD_DIM> shape;
    const int64_t tiles = (params->operands.keys + ROWS - 1) / ROWS;
    const int error =
        reserve((const void *)attention_key_gradient_kernel<HEAD_DIM>, shape::BACK_BYTES);
    if (error != cudaSuccess || tiles == 0)
        return error;
    const dim3 grid((unsigned)tiles, (unsigned)(heads_of(params) / params->group),
                    (unsigned)((params->operands.head_dim + shape::COLUMNS - 1) / shape::COLUMNS));
    attention_key_gradient_kernel<HEAD_DIM><<<grid, THREADS, shape::BACK_BYTES, stream>>>(*params);
    return cudaGetLastError();
}

static int attention_train(const struct kernels_cuda_attention_train *args, cudaStream_t stream)
{
    struct train_params params = {};
    if (!params_make(&params, &args->operands))
        return cudaErrorInvalidValue;
    params.out = args->out;
    params.out_logsumexp = args->logsumexp;
    if (args->operands.head_dim <= 64)
        return forward<64>(&params, stream);
    if (args->operands.head_dim <= 96)
        return forward<96>(&params, stream);
    if (args->operands.head_dim <= 128)
        return forward<128>(&params, stream);
    return forward<256>(&params, stream);
}

template <int HEAD_DIM> static int backward(const struct train_params *params, cudaStream_t stream)
{
    const int error = query_gradient<HEAD_DIM>(params, stream);
    return error == cudaSuccess ? key_gradient<HEAD_DIM>(params, stream) : error;
}

static int attention_gradient(const struct kernels_cuda_attention_gradient *args,
                              cudaStream_t stream)
{
    struct train_params params = {};
    if (!params_make(&params, &args->operands))
        return cudaErrorInvalidValue;
    params.dout = (const char *)args->dout;
    params.logsumexp = args->logsumexp;
    params.dot = args->dot;
    params.dq = args->dq;
    params.dk = args->dk;
    params.dv = args->dv;
    if (args->operands.head_dim <= 64)
        return backward<64>(&params, stream);
    if (args->operands.head_dim <= 96)
        return backward<96>(&params, stream);
    if (args->operands.head_dim <= 128)
        return backward<128>(&params, stream);
    return backward<256>(&params, stream);
}

/* A warp a row. */
__global__ void __launch_bounds__(THREADS)
    attention_dots_kernel(const __grid_constant__ struct kernels_cuda_attention_dots args)
{
    const int64_t row = (int64_t)blockIdx.x * WARPS + threadIdx.x / 32;
    if (row >= args.rows)
        return;
    float sum = 0;
    for (int d = threadIdx.x % 32; d < args.head_dim; d += 32)
        sum += args.dout[row * args.head_dim + d] * args.out[row * args.head_dim + d];
    for (int apart = 16; apart > 0; apart /= 2)
        sum += __shfl_xor_sync(0xffffffffu, sum, apart);
    if (threadIdx.x % 32 == 0)
        args.dot[row] = sum;
}

static int attention_dots(const struct kernels_cuda_attention_dots *args, cudaStream_t stream)
{
    const int64_t blocks = (args->rows + WARPS - 1) / WARPS;
    if (blocks == 0)
        return 0;
    if (blocks < 0 || blocks > INT32_MAX || args->head_dim < 1)
        return cudaErrorInvalidValue;
    attention_dots_kernel<<<(unsigned)blocks, THREADS, 0, stream>>>(*args);
    return cudaGetLastError();
}

void attention_gradient_cuda_install(struct kernels_cuda *kernels)
{
    kernels->attention_train = attention_train;
    kernels->attention_dots = attention_dots;
    kernels->attention_gradient = attention_gradient;
}
