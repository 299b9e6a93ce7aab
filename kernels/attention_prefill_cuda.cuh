/* What the kernels of prefill share: their parameters, the tile of queries that a block works on,
 * and how a row's state is folded into memory. */
#pragma once

#include <math.h>

#include "kernels/attention_segments.h"
#include "kernels/kernels_cuda.h"
#include "kernels/mma_cuda.cuh"

struct prefill_params {
    struct regimes regimes;
    struct attention_extent extents[ATTENTION_EXTENTS_MAX];
    struct attention_span spans[ATTENTION_SPANS_MAX];
    const char *queries;
    int64_t frame_bytes;
    int64_t row_bytes; /* of all heads */
    int64_t record_bytes;
    float *acc, *max, *sum;
    void *out;
    int64_t tiles;
    int extent_count, span_count;
    int heads, group, head_dim;
    int head_first, head_count; /* that are computed */
    int first, last;
    float scale_log2;
};

/* What a block works on. */
struct prefill_tile {
    int64_t row; /* of its first query */
    int64_t index;
    int tokens;
    int head, kv_head;
    int span;
};

/* Whether the arguments are within what kernels_cuda.h allows; *params but for `tiles`. */
static inline bool prefill_params_make(struct prefill_params *params,
                                       const struct kernels_cuda_prefill *args)
{
    if (args->extent_count < 0 || args->extent_count > ATTENTION_EXTENTS_MAX ||
        args->span_count < 0 || args->span_count > ATTENTION_SPANS_MAX ||
        args->head_dim < 16 || args->head_dim % 16 != 0 ||
        args->head_dim > ATTENTION_HEAD_DIM_MAX || args->kv_heads < 1 ||
        args->heads % args->kv_heads != 0 ||
        kernels_cuda_heads_count(args->computed, args->kv_heads) == 0 ||
        (args->operand != DTYPE_BF16 && args->operand != DTYPE_F16))
        return false;
    params->regimes = *args->regimes;
    for (int r = 0; r < args->extent_count; r++)
        params->extents[r] = args->extents[r];
    for (int s = 0; s < args->span_count; s++)
        params->spans[s] = args->spans[s];
    params->queries = (const char *)args->queries;
    params->frame_bytes = args->frame_stride * 2;
    params->row_bytes = (int64_t)args->heads * args->head_dim * 2;
    params->record_bytes =
        (int64_t)attention_record_bytes(DTYPE_BF16, args->kv_heads, args->head_dim);
    params->acc = args->acc;
    params->max = args->max;
    params->sum = args->sum;
    params->out = args->out;
    params->extent_count = args->extent_count;
    params->span_count = args->span_count;
    params->heads = args->heads;
    params->group = args->heads / args->kv_heads;
    params->head_first = args->computed.first * params->group;
    params->head_count = 
        kernels_cuda_heads_count(args->computed, args->kv_heads) * params->group;
    params->head_dim = args->head_dim;
    params->first = args->first;
    params->last = args->last;
    params->scale_log2 = args->scale_log2;
    return true;
}

/* Tiles of `queries` queries, over all spans; -1: (tile, head) cannot be counted in 31 bits. */
static inline int64_t prefill_tiles(const struct prefill_params *params, int queries)
{
    int64_t tiles = 0;
    for (int s = 0; s < params->span_count; s++)
        tiles += attention_span_tiles(&params->spans[s], queries);
    return tiles * params->head_count > INT32_MAX ? -1 : tiles;
}

/* Late queries see most, and go first; the heads of a group are neighbours. */
static __device__ __forceinline__ void prefill_find_tile(struct prefill_tile *tile,
                                                         const struct prefill_params *params,
                                                         unsigned work, int queries)
{
    int64_t number = params->tiles - 1 - work / params->head_count;
    tile->span = attention_span_of_tile(&number, params->spans, params->span_count, queries);
    const struct attention_span *span = &params->spans[tile->span];
    tile->head = params->head_first + (int)(work % params->head_count);
    tile->kv_head = tile->head / params->group;
    tile->row = span->row + number * queries;
    tile->index = span->index + number * queries;
    tile->tokens = (int)regimes_smaller(span->tokens - number * queries, queries);
}

/* Two widths of kernels are for one width of heads each. */
template <int HEAD_DIM>
static __device__ __forceinline__ int prefill_head_dim(const struct prefill_params *params)
{
    return HEAD_DIM == 64 || HEAD_DIM == 128 ? HEAD_DIM : params->head_dim;
}

/* The state of one row (token, head) of this lane but for acc, and the one in memory. */
struct prefill_row {
    int64_t row;
    float max, sum;
    float other_max, other_sum;
};

/* Folds the row into memory, or finishes it. `ours` points at the two elements of each tile of 8
 * that this lane holds, four floats apart. */
template <typename OPERAND, int HEAD_DIM>
static __device__ __forceinline__ void prefill_store_row(const struct prefill_params *params,
                                                         const struct prefill_row *row,
                                                         const float *ours)
{
    const int lane = threadIdx.x % 32;
    float mine = 1, theirs = 0, top = row->max, sum = row->sum;
    if (row->other_sum != 0) {
        top = fmaxf(row->max, row->other_max);
        mine = mma_exp2(row->max - top);
        theirs = mma_exp2(row->other_max - top);
        sum = row->sum * mine + row->other_sum * theirs;
    }
    if (params->last) {
        const float share = sum == 0 ? 0 : 1 / sum;
        mine *= share;
        theirs *= share;
    }
    const int head_dim = prefill_head_dim<HEAD_DIM>(params);
    float *acc = params->acc + row->row * head_dim;
    uint32_t *out = (uint32_t *)((typename OPERAND::element *)params->out + row->row * head_dim);
#pragma unroll
    for (int n = 0; n < HEAD_DIM / 8; n++) {
        const int d = n * 8 + lane % 4 * 2;
        if (d >= head_dim)
            break;
        float low = ours[4 * n] * mine, high = ours[4 * n + 1] * mine;
        if (theirs != 0) {
            const float2 other = *(const float2 *)(acc + d);
            low += other.x * theirs;
            high += other.y * theirs;
        }
        if (params->last)
            out[d / 2] = mma_pack(OPERAND(), low, high);
        else
            *(float2 *)(acc + d) = make_float2(low, high);
    }
    if (!params->last && lane % 4 == 0) {
        params->max[row->row] = top;
        params->sum[row->row] = sum;
    }
}
