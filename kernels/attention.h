/* Attention of a span of queries to a span of keys, carried across calls.
 *
 * A pair (i, j) of global indices is visible in a store when a regime of that store holds it
 * (kernels/regimes.h); its score is  s = scale_log2 * q[query_frame][i] . k[j], in log2 units; with
 * a cap, cap_log2 * tanh(s / cap_log2) in its place. The state of a row (token, head) is
 *
 *   max = max s          sum = Sum 2^(s - max)          acc[d] = Sum 2^(s - max) v[j][d]
 *
 * all float32 and unnormalised. Empty: max = -inf, sum = 0, acc = 0. A call continues the state it
 * is given.
 *
 * Keys are stepped through in panels of PANEL_TOKENS keys aligned to the global index, ascending;
 * maximum and rescale are per row, and a pair that is not visible adds exactly 0. So the result
 * depends on the pairs and their order, never on how queries or panels are cut into calls, which
 * rows are together, or which unneeded panels a call includes.
 *
 * A record holds PANEL_TOKENS tokens' K, or V, of all KV heads: [kv_heads], each with
 *   DTYPE_F32   K [64, head_dim] float              V [64, head_dim] float
 *   DTYPE_BF16  K [head_dim / 2, 64, 2] bf16        V [32, head_dim, 2] bf16
 *   DTYPE_INT8  what kernels/attention_int8.h says
 *
 * (pairs lie along the summed axis). A panel is records one behind the other: K in key frame 0, in
 * key frame 1 and so on, and V last. A pair reads the K of its regime's key frame. Records are
 * 64-byte aligned. Rows not stored yet are zero bytes. head_dim is a multiple of 16, at most
 * ATTENTION_HEAD_DIM_MAX.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/dtype.h"
#include "kernels/regimes.h"

enum {
    PANEL_TOKENS = 64,
    ATTENTION_HEAD_DIM_MAX = 256,
    ATTENTION_GROUP_MAX = 96,
    ATTENTION_ROWS = 192,
};

/* The best number of query tokens for one call of attention_prefill, and so for one work item: it
 * fills ATTENTION_ROWS rows (token, head), or nearly, a multiple of every variant's tile. */
static inline int64_t attention_query_tokens(int group)
{
    return group < ATTENTION_ROWS ? ATTENTION_ROWS / group : 1;
}

/* Bytes of one token's keys or values of a head, of one head in a record, and of a record. `cache`
 * is DTYPE_F32, DTYPE_BF16 or DTYPE_INT8. */
static inline size_t attention_row_bytes(enum dtype cache, int head_dim)
{
    if (cache == DTYPE_INT8)
        return (size_t)head_dim + sizeof(uint16_t);
    return (size_t)head_dim * (cache == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t));
}

static inline size_t attention_head_bytes(enum dtype cache, int head_dim)
{
    return PANEL_TOKENS * attention_row_bytes(cache, head_dim);
}

static inline size_t attention_record_bytes(enum dtype cache, int kv_heads, int head_dim)
{
    return (size_t)kv_heads * attention_head_bytes(cache, head_dim);
}

/* attention_store_keys(record, row, keys, kv_heads, head_dim): writes one token's keys [kv_heads,
 * head_dim] float32, already rotated as the record's frame wants, at row 0..63 of a K record.
 * attention_store_values: the same for a V record. */

/* kv_heads neighbouring KV heads and the query heads of their groups (GQA). The pointers are the
 * first head's. */
struct attention_args {
    float *acc;           /* [tokens, kv_heads, group, head_dim], token t at acc + t * acc_stride */
    float *max;           /* [tokens, kv_heads, group], token t at max + t * row_stride */
    float *sum;           /* like max */
    int64_t acc_stride;   /* floats: heads * head_dim */
    int64_t row_stride;   /* floats: heads */
    const void *queries;  /* [frames][tokens, kv_heads, group, head_dim], operand type */
    int64_t frame_stride; /* elements from frame to frame */
    int64_t query_stride; /* elements from token to token */
    int64_t query_first;  /* global index of the first token; the span is contiguous */
    int64_t tokens;
    int kv_heads;
    int group;
    int head_dim;
    const void *panels;   /* the first head's K, in key frame 0, of the first panel */
    size_t record_stride; /* bytes from record to record of a panel */
    size_t panel_stride;  /* bytes from panel to panel; V is a panel's last record */
    int64_t key_first;    /* global index of the first panel, a multiple of PANEL_TOKENS */
    int64_t key_end;      /* keys at and beyond it are not there (their rows are zero) */
    enum bands_store store;
    const struct regimes *regimes;
    float scale_log2; /* logit_scale * log2(e) / sqrt(head_dim), above 0 */
    float cap_log2;   /* 0: none */
    void *scratch;
};

/* attention_prefill(args): any number of tokens; attention_query_tokens() and one head are enough
 * to be fast. attention_decode(args): few tokens, reading each key and value once for the whole
 * group; with all heads of a panel it reads memory from end to end, which is twice as fast as by
 * pieces of one head. Its steps may be longer than a panel, but are aligned to the global index and
 * do not depend on the call. */

/* Folds state b into state a: rows = tokens * heads, dense [rows, head_dim] and [rows]. An empty
 * side changes nothing. */
struct attention_merge_args {
    float *acc;
    float *max;
    float *sum;
    const float *other_acc;
    const float *other_max;
    const float *other_sum;
    int64_t rows;
    int head_dim;
};

/* attention_finish(out, acc, sum, rows, head_dim): out[r][d] = acc[r][d] / sum[r]; 0 where sum is
 * 0. May be in place. */
