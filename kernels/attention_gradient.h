/* Attention of training, forward and backward: a tile of queries x a tile of keys, one KV head and
 * the query heads of its group. All float32.
 *
 * A row is (token, head). Row r sees the keys of its token's spans (kernels/attention_spans.h),
 * with
 *
 *   s[r][j] = scale_log2 * q[query_frame][r] . k[key_frame][j]          in log2 units
 *
 * The state of a row is that of kernels/attention.h: its maximum, sum and accumulator are carried
 * over the tiles of keys, in any order of tiles, and attention_gradient_finish makes of them
 *
 *   out[r] = acc[r] / sum[r]          logsumexp[r] = max[r] + log2 sum[r]
 *
 * (0 and -inf for a row that saw nothing). The gradient of the loss by out, dout, then gives with
 * p[r][j] = 2^(s[r][j] - logsumexp[r]) and dot[r] = dout[r] . out[r]
 *
 *   ds[r][j] = p[r][j] * (dout[r] . v[j] - dot[r])
 *   dv[j]              += Sum_r p[r][j] dout[r]
 *   dq[query_frame][r] += scale * Sum_j ds[r][j] k[key_frame][j]        scale = scale_log2 * ln 2
 *   dk[key_frame][j]   += scale * Sum_r ds[r][j] q[query_frame][r]
 *
 * A NaN among the operands of a row's pairs makes its results NaN; in v or dout, it may reach other
 * rows of the tile as well.
 *
 * Each sum has one sequence of additions that the tile fixes, so a result follows from the tiles
 * and their sequence alone. Two forward calls may run at once if they share no queries; two
 * backward calls if they share neither queries nor keys. head_dim is a multiple of 16, at most
 * ATTENTION_HEAD_DIM_MAX.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/attention.h"
#include "kernels/attention_spans.h"

/* What both directions read. Strides are in floats. A frame that no span names is not read. */
struct attention_gradient_tile {
    const struct attention_spans *spans;
    int64_t tokens; /* of queries */
    int64_t keys;
    int group;
    int head_dim;
    float scale_log2; /* logit_scale * log2(e) / sqrt(head_dim) */
    const float *q;   /* [query_frames][tokens, group, head_dim] */
    int64_t q_frame_stride;
    int64_t q_stride; /* from token to token; the heads of a group are neighbours */
    const float *k;   /* [key_frames][keys, head_dim] */
    int64_t k_frame_stride;
    int64_t k_stride;
    const float *v; /* [keys, head_dim] */
    int64_t v_stride;
    void *scratch; /* attention_gradient_scratch_bytes, 64-byte aligned, one a thread */
};

/* attention_gradient_forward(tile, state): carries the state on. */
struct attention_gradient_state {
    float *acc; /* [tokens, group, head_dim] */
    int64_t acc_stride;
    float *max, *sum;   /* [tokens, group] */
    int64_t row_stride; /* from token to token */
};

/* attention_gradient_backward(tile, flow): adds to dq, dk and dv; only to the frames that spans
 * name. */
struct attention_gradient_flow {
    const float *dout; /* [tokens, group, head_dim] */
    int64_t dout_stride;
    const float *logsumexp, *dot; /* [tokens, group] */
    int64_t row_stride;
    float *dq; /* as q, with its strides */
    float *dk; /* as k */
    float *dv; /* as v */
};

/* attention_gradient_finish(acc, max, sum, rows, head_dim): in place, acc [rows, head_dim] becomes
 * out, max [rows] logsumexp.
 *
 * attention_gradient_dots(dot, dout, out, rows, head_dim): dot[r] = dout[r] . out[r], summed in
 * float64. */

/* Of every variant: the tile's operands as they are multiplied, and its scores. */
static inline size_t attention_gradient_scratch_bytes(int head_dim)
{
    const size_t side = ATTENTION_SPANS_TOKENS;
    return (5 * (size_t)head_dim + 2 * side) * side * sizeof(float);
}
