/* The CUDA kernels as a table of launch functions, in plain C: no CUDA header is needed to call
 * them, and a table with the same entries can be written without a GPU.
 *
 * Every pointer inside an argument struct is device memory, 16-byte aligned, unless it says "host";
 * the structs themselves are host memory and may be reused as soon as the call returns. A call
 * puts one kernel (matmul_decode: one a matrix and eight rows; survey, attention_gradient and
 * rmsnorm_gradient: two) on `stream`, in order with what is there, allocates nothing, waits for
 * nothing and can be captured into a graph. It returns 0, or the cudaError_t of the launch;
 * arguments outside the stated ranges give cudaErrorInvalidValue (1). Calls with no rows do
 * nothing. A pointer to `struct CUstream_st` is what CUDA calls cudaStream_t.
 *
 * "Row" means one token's vector. Sums are float32. A row's result does not depend on which rows
 * are computed with it. `operand` is DTYPE_BF16 or DTYPE_F16: the type of rotated queries, of
 * cached keys and values, and of the left sides of cuBLASLt products.
 *
 * | entry             | reads                         | writes                             |
 * | embed             | a weight matrix, ids          | hidden, float32                    |
 * | rmsnorm           | hidden, what to add, weight   | hidden; normed, float32 or operand |
 * | norm_heads        | heads of q and k, weights     | the same heads                     |
 * | bias              | vectors                       | rows that they are added to        |
 * | rope_table        | indices                       | cos and sin of all frames          |
 * | rope_queries      | q, table                      | q in every frame, operand          |
 * | rope_store        | k, v, table                   | records                            |
 * | attention_prefill | q, extents of panels          | states, or finished rows           |
 * | attention_decode  | q, extents of panels          | one state a split                  |
 * | attention_combine | states                        | a state and / or finished rows     |
 * | attention_finish  | a state                       | finished rows                      |
 * | swiglu            | gate, up                      | their product                      |
 * | dequantize        | rows of a weight matrix       | operand, for cuBLASLt              |
 * | matmul_decode     | few rows, weight matrices     | float32                            |
 * | logits            | logits                        | maximum, logsumexp, log-probability|
 * | survey            | logits                        | what a choice needs of them        |
 *
 * Of training alone; formulas are those of kernels/attention_gradient.h, rows_gradient.h,
 * cross_entropy.h and adamw.h:
 *
 * | entry              | reads                         | writes                             |
 * | attention_train    | q, k, v, what rows see        | finished rows, logsumexp           |
 * | attention_dots     | dout, out                     | their dot products                 |
 * | attention_gradient | these, dout, logsumexp, dots  | dq, dk, dv in every frame          |
 * | rope_gradient      | gradients of all frames       | those of the rows before rotation  |
 * | rmsnorm_gradient   | dy, x, weight                 | dx, dweight                        |
 * | swiglu_gradient    | dy, gate, up                  | dgate, dup                         |
 * | column_sums        | rows                          | what their sums are added to       |
 * | embed_gradient     | dy, rows by token             | dweight                            |
 * | add                | numbers                       | what they are added to             |
 * | copy_rows          | rows                          | the same rows elsewhere            |
 * | round              | float32                       | operand, for cuBLASLt              |
 * | cross_entropy      | logits, targets               | their gradients, losses            |
 * | squares            | numbers                       | sums of their squares              |
 * | adamw              | gradient                      | weights, moments                   |
 *
 * Every sum of theirs has one sequence of additions that shapes alone fix, and no atomics, so that
 * a step that is taken again has the same bits.
 *
 * The cache. A record holds PANEL_TOKENS tokens' K, or V, of all KV heads: [kv_heads,
 * PANEL_TOKENS, head_dim] of `operand`, plain and row-major: what cp.async, ldmatrix and TMA want.
 * A panel is records one behind the other, K in each key frame that it is kept in and V last. A
 * record's bytes are attention_record_bytes(DTYPE_BF16, kv_heads, head_dim), those of the CPU's
 * bf16 records, whose order inside differs: all ranks of a group are of one kind. Rows that are not
 * stored yet need not be zero: an extent's `end` keeps them unread.
 *
 * A state of `rows` rows is [acc: rows, heads, head_dim][max: rows, heads][sum: rows, heads],
 * float32, one behind the other (attention.h says what they mean). head_dim is a multiple of 16, at
 * most ATTENTION_HEAD_DIM_MAX; heads is a multiple of kv_heads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/attention_segments.h"
#include "kernels/bands.h"
#include "kernels/dtype.h"
#include "kernels/logits_survey.h"

struct CUstream_st;

enum {
    KERNELS_CUDA_BASES = 3,         /* places that decode's records lie in */
    KERNELS_CUDA_MATRICES = 3,      /* of one decode product, and vectors of one bias */
    KERNELS_CUDA_HEAD_KINDS = 2,    /* queries' and keys' */
    KERNELS_CUDA_SURVEYED = 1024,   /* logits that a block of `survey` puts in order */
    KERNELS_CUDA_TRAIN_KEYS = 48,   /* keys of a step of attention_train's softmax */
    KERNELS_CUDA_NORM_ROWS = 64,    /* of a partial sum of rmsnorm_gradient */
    KERNELS_CUDA_SQUARES = 1 << 16, /* numbers of a sum of `squares` */
};

/* A matrix [out, in] row-major, as the model file stores it: each row dtype_row_bytes(dtype, in)
 * bytes, no padding. `rows` is 16-byte aligned. */
struct kernels_cuda_matrix {
    const void *rows;
    enum dtype dtype;
    int64_t out;
    int64_t in;
};

/* hidden[r] = row ids[r] of the matrix, float32. */
struct kernels_cuda_embed {
    float *hidden;                     /* [rows, in] */
    struct kernels_cuda_matrix matrix; /* [vocab, hidden] */
    const int32_t *ids;                /* [rows], each in [0, vocab) */
    int64_t rows;
};

/* hidden[r] += add[r], where `add` is not NULL; then
 * out[r][i] = hidden[r][i] / sqrt(mean_i hidden[r][i]^2 + eps) * weight[i]. */
struct kernels_cuda_rmsnorm {
    void *out;            /* [rows, width] out_dtype; NULL: only add */
    enum dtype out_dtype; /* DTYPE_F32 or operand */
    float *hidden;        /* [rows, width] */
    const float *add;     /* [rows, width] or NULL */
    const float *weight;  /* [width] */
    int64_t rows;
    int64_t width; /* a multiple of 4 */
    float eps;
};

/* Each head of x is normalised by itself, in place: x[d] = x[d] / sqrt(mean_d x[d]^2 + eps) *
 * weight[d]. The first heads[0] of a row have weights[0], the heads[1] after them weights[1]. */
struct kernels_cuda_norm_heads {
    float *x;       /* [rows, heads, head_dim], row r at x + r * stride */
    int64_t stride; /* floats */
    const float *weights[KERNELS_CUDA_HEAD_KINDS]; /* [head_dim] */
    int heads[KERNELS_CUDA_HEAD_KINDS];
    int64_t rows;
    int head_dim;
    float eps;
};

/* y[r][o] += bias[o] for o in [first, end), counted through the vectors laid end to end. */
struct kernels_cuda_bias {
    float *y;       /* [rows, sum of widths], row r at y + r * stride */
    int64_t stride; /* floats */
    const float *vectors[KERNELS_CUDA_MATRICES];
    int64_t widths[KERNELS_CUDA_MATRICES];
    int vector_count;
    int64_t rows;
    int64_t first;
    int64_t end;
};

/* table[f][r][p] = magnitude * (cos, sin)(bands_position(&frames[f], indices[r]) * inv_freq[p]),
 * the angle in float64. Query frames come first, key frames behind them; for the first query_frames
 * the magnitude is multiplied by rope_logn(logn, indices[r]). */
struct kernels_cuda_rope_table {
    float *table;                                /* [frame_count, rows, half, 2] */
    const int64_t *indices;                      /* [rows] */
    double inv_freq[ATTENTION_HEAD_DIM_MAX / 2]; /* [half] */
    int query_frames;
    double logn;
    struct bands_frame frames[2 * BANDS_FRAMES_MAX];
    int frame_count;
    int64_t rows;
    int half;
    double magnitude;
};

/* Rotates q once for every frame (rope.h), in one pass over q. Here and in stored keys an infinity
 * becomes a NaN, which no score hides. */
struct kernels_cuda_rope_queries {
    /* [frame_count][rows, heads, head_dim] operand, frame f at out + f * frame_stride elements;
     * rows dense. */
    void *out;
    int64_t frame_stride; /* elements */
    const float *q;       /* [rows, heads, head_dim], row r at q + r * q_stride */
    int64_t q_stride;     /* floats, a multiple of 4 */
    const float *table;   /* [frame_count, ., half, 2], frame f at table + f * table_stride */
    int64_t table_stride; /* floats */
    int frame_count;
    int64_t rows;
    int heads;
    int head_dim;
    enum dtype operand;
};

/* Rotates k and stores k and v: row r goes to row indices[r] % PANEL_TOKENS of the panel that
 * begins with record records[r] of `cache`, unless that is negative, K in key frames [0,
 * panel_frames); where indices[r] < sinks also to panel indices[r] / PANEL_TOKENS of `sink_cache`,
 * K in all. */
struct kernels_cuda_rope_store {
    void *cache;      /* one layer's records */
    void *sink_cache; /* one layer's; unused where sinks is 0 */
    int64_t sinks;
    const int64_t *records; /* [rows] */
    const int64_t *indices; /* [rows] */
    const float *k;         /* [rows, kv_heads, head_dim], row r at k + r * stride */
    const float *v;         /* the same */
    int64_t stride;         /* floats, a multiple of 4 */
    const float *table;     /* [key_frames][., half, 2], frame f at table + f * table_stride */
    int64_t table_stride;   /* floats */
    int panel_frames, key_frames;
    int64_t rows;
    int kv_heads;
    int head_dim;
    enum dtype operand;
};

/* The KV heads [first, end) that a call computes, with their groups; the states of the others stay
 * as they are. An end of 0: all. */
struct kernels_cuda_heads {
    int first, end;
};

/* How many they are; 0: there are no such heads. */
static inline int kernels_cuda_heads_count(struct kernels_cuda_heads computed, int kv_heads)
{
    const int end = computed.end == 0 ? kv_heads : computed.end;
    const bool there = computed.first >= 0 && computed.first < end && end <= kv_heads;
    return there ? end - computed.first : 0;
}

/* Attends every row of `spans` to `extents`. `first`: states are not read but begin empty; every
 * row of every span is written even where no extent applies to it. `last`: finished rows go to
 * `out` and no state is written; where both are set acc, max and sum may be NULL. */
struct kernels_cuda_prefill {
    const struct regimes *regimes;          /* host */
    const struct attention_extent *extents; /* host, <= ATTENTION_EXTENTS_MAX; in order */
    int extent_count;
    const struct attention_span *spans; /* host, <= ATTENTION_SPANS_MAX; rows do not overlap */
    int span_count;
    const void *queries;  /* [frames][., heads, head_dim] operand */
    int64_t frame_stride; /* elements */
    float *acc;           /* [., heads, head_dim] */
    float *max;           /* [., heads] */
    float *sum;           /* [., heads] */
    void *out;            /* [., heads, head_dim] operand */
    bool first;
    bool last;
    int heads;
    int kv_heads;
    struct kernels_cuda_heads computed;
    int head_dim;
    enum dtype operand;
    float scale_log2;
};

/* An extent of keys of decode: panels from record number `record` on, at bases[base]. */
struct kernels_cuda_extent {
    int64_t record;
    int64_t first; /* index of its first key: a multiple of PANEL_TOKENS */
    int64_t end;
    int32_t store; /* enum bands_store */
    int32_t base;
    int32_t panel_records;
};

/* Attends rows with indices *index, *index + 1, ... to extents of keys, `splits` pieces side by
 * side: piece s reads extents [split_first[s], split_first[s + 1]) and writes states + s * (rows *
 * heads * (head_dim + 2)), empty where it has no visible key. What changes from token to token lies
 * in device memory, and what changes from layer to layer is `bases`, so that a captured step can be
 * replayed. Sixteen (token, head) of a group read a key and its value once. */
struct kernels_cuda_decode {
    const struct regimes *regimes; /* host */
    const void *bases[KERNELS_CUDA_BASES];
    const struct kernels_cuda_extent *extents;
    const int32_t *split_first; /* [splits + 1] */
    int splits;
    const int64_t *index; /* [1] */
    const void *queries;  /* [frames][rows, heads, head_dim] operand */
    int64_t frame_stride; /* elements */
    float *states;        /* [splits] states */
    int64_t rows;         /* any */
    int heads;
    int kv_heads;
    struct kernels_cuda_heads computed;
    int head_dim;
    enum dtype operand;
    float scale_log2;
};

/* Blocks of attention_decode that a multiprocessor with 227 KiB of shared memory holds at once. */
static inline int kernels_cuda_decode_resident(int head_dim)
{
    return head_dim <= 64 ? 3 : head_dim <= 128 ? 2 : 1;
}

/* Splits of one token's keys that fill a device once: all blocks begin together, and end together
 * where the keys are shared out evenly. */
static inline int kernels_cuda_decode_splits(int processors, int kv_heads, int head_dim)
{
    const int splits = processors * kernels_cuda_decode_resident(head_dim) / kv_heads;
    return splits > 1 ? splits : 1;
}

/* Folds `count` states, in order, into one (attention_merge of attention.h, from the empty state
 * on). Splits of a rank and ranks of a group are the same to it. */
struct kernels_cuda_combine {
    const float *states; /* [count] states */
    int count;           /* >= 1 */
    float *state;        /* one state or NULL; not among `states` */
    void *out; /* [rows, heads, head_dim] out_dtype: acc / sum, 0 where sum is 0; or NULL */
    enum dtype out_dtype; /* DTYPE_F32 or operand */
    int64_t rows;
    int heads;
    int head_dim;
};

/* out[r][d] = acc[r][d] / sum[r], 0 where sum is 0; rows counts (token, head). */
struct kernels_cuda_finish {
    void *out;            /* [rows, head_dim] out_dtype */
    enum dtype out_dtype; /* DTYPE_F32 or operand */
    const float *acc;     /* [rows, head_dim] */
    const float *sum;     /* [rows] */
    int64_t rows;
    int head_dim;
};

/* out[r][i] = gate[r][i] / (1 + e^-gate[r][i]) * up[r][i]. May be in place where out is float32. */
struct kernels_cuda_swiglu {
    void *out;            /* [rows, width], row r at out + r * out_stride elements */
    enum dtype out_dtype; /* DTYPE_F32 or operand */
    int64_t out_stride;
    const float *gate; /* [rows, width], row r at gate + r * in_stride */
    const float *up;   /* the same */
    int64_t in_stride;
    int64_t rows;
    int64_t width; /* a multiple of 4, strides too */
};

/* Rows [first, end) of the matrix, rounded once to operand. */
struct kernels_cuda_dequantize {
    void *out; /* [end - first, in] operand, dense */
    enum dtype operand;
    struct kernels_cuda_matrix matrix;
    int64_t first, end;
};

/* y[r][o] = (accumulate ? y[r][o] : 0) + sum_k x[r][k] * W[o][k] for o in [out_first, out_end),
 * counted through the matrices laid end to end; quantised rows are read directly, once for up to
 * eight rows of x. Other columns of y are not touched. Any range; made for few rows. */
struct kernels_cuda_matmul {
    float *y;         /* [rows, sum of outs], row r at y + r * y_stride */
    int64_t y_stride; /* floats */
    const float *x;   /* [rows, in], row r at x + r * x_stride */
    int64_t x_stride; /* floats, a multiple of 4 */
    int64_t rows;
    struct kernels_cuda_matrix matrices[KERNELS_CUDA_MATRICES]; /* the same `in` */
    int matrix_count;
    int64_t out_first;
    int64_t out_end;
    bool accumulate;
};

/* What is asked of one row of logits. */
struct kernels_cuda_logits_row {
    float max;
    int32_t best;    /* the lowest id with the largest logit */
    float logsumexp; /* natural; a NaN where a logit is not finite, and then logprob too */
    float logprob;   /* logits[ids[r]] - logsumexp; 0 where ids is NULL or ids[r] is negative */
};

struct kernels_cuda_logits {
    struct kernels_cuda_logits_row *out; /* [rows] */
    const float *logits;                 /* [rows, vocab] dense */
    const int32_t *ids;                  /* [rows] or NULL */
    int64_t rows;
    int64_t vocab;
};

/* What a block of `survey` leaves to the next kernel. */
struct kernels_cuda_surveyed {
    double sum;                       /* of e^((logit - its largest) / temperature) */
    int64_t non_finite;               /* the lowest such id; INT32_MAX: none */
    uint64_t keys[LOGITS_CANDIDATES]; /* logit and id as one number, the largest first; 0: none */
};

/* *out as logits_survey.h says, of one row of logits. */
struct kernels_cuda_survey {
    struct logits_survey *out;          /* [1] */
    struct kernels_cuda_surveyed *work; /* [kernels_cuda_survey_blocks(vocab)], overwritten */
    const float *logits;                /* [vocab] */
    int64_t vocab;
    double temperature; /* > 0 */
};

static inline int64_t kernels_cuda_survey_blocks(int64_t vocab)
{
    return (vocab + KERNELS_CUDA_SURVEYED - 1) / KERNELS_CUDA_SURVEYED;
}

/* What rows see of keys: through regime g row r sees keys [first[g][r], end[g][r]), in one frame of
 * queries and one of keys; none where the two are equal. No pair is seen through two regimes. */
struct kernels_cuda_sight {
    int count;
    int32_t query_frame[BANDS_MAX], key_frame[BANDS_MAX];
    const int32_t *first, *end; /* [count][rows] */
};

/* What attention of training reads: bf16, rotated, a copy a frame. All keys of a row are there. */
struct kernels_cuda_operands {
    struct kernels_cuda_sight sight;
    const void *q;          /* [query_frames][rows, heads, head_dim] */
    int64_t q_frame_stride; /* elements */
    const void *k;          /* [key_frames][keys, kv_heads, head_dim] */
    int64_t k_frame_stride;
    const void *v; /* [keys, kv_heads, head_dim] */
    int query_frames, key_frames;
    int64_t rows, keys;
    int heads;
    int kv_heads;
    struct kernels_cuda_heads computed; /* results of other heads stay as they are */
    int head_dim;
    float scale_log2; /* logit_scale * log2(e) / sqrt(head_dim) */
};

/* Scores and sums in float32, probabilities rounded to bf16 before values. Keys are met in steps of
 * KERNELS_CUDA_TRAIN_KEYS from key 0 on, regime after regime: a row has the same bits wherever
 * other rows and keys lie, as long as its own keys lie alike in these steps. */
struct kernels_cuda_attention_train {
    struct kernels_cuda_operands operands;
    float *out;       /* [rows, heads, head_dim] */
    float *logsumexp; /* [rows, heads], in log2 units */
};

/* dot[r] = dout[r] . out[r]; rows counts (token, head). */
struct kernels_cuda_attention_dots {
    float *dot;              /* [rows] */
    const float *dout, *out; /* [rows, head_dim] */
    int64_t rows;
    int head_dim;
};

/* Probabilities and their gradients are rounded to bf16 before they are multiplied. All frames are
 * written, rows and keys that meet nothing with zeros. Queries' gradients and keys' are computed
 * apart, each number by one thread. */
struct kernels_cuda_attention_gradient {
    struct kernels_cuda_operands operands;
    const void *dout;             /* [rows, heads, head_dim] bf16 */
    const float *logsumexp, *dot; /* [rows, heads] */
    float *dq;                    /* as q, with its strides */
    float *dk;                    /* as k */
    float *dv;                    /* as v */
};

/* The transpose of rope_queries over all frames: with x the gradient by the rotated rows,
 *
 *   out[p]        = Sum_f x_f[p] cos_f + x_f[p + half] sin_f
 *   out[p + half] = Sum_f x_f[p + half] cos_f - x_f[p] sin_f */
struct kernels_cuda_rope_gradient {
    float *out;           /* [rows, heads, head_dim], row r at out + r * out_stride */
    int64_t out_stride;   /* floats, a multiple of 4 */
    const float *x;       /* [frame_count][rows, heads, head_dim], rows dense */
    int64_t frame_stride; /* floats */
    const float *table;   /* [frame_count, ., half, 2], frame f at table + f * table_stride */
    int64_t table_stride; /* floats */
    int frame_count;
    int64_t rows;
    int heads;
    int head_dim;
};

/* rmsnorm_gradient of rows_gradient.h; with several heads each is a row by itself. dx may be dy or
 * x where it does not accumulate. */
struct kernels_cuda_rmsnorm_gradient {
    float *dx;      /* [rows, heads, width], row r at dx + r * stride, as dy and x */
    float *dweight; /* [width] */
    float *partial; /* [kernels_cuda_norm_parts(rows), width], overwritten */
    const float *dy;
    const float *x; /* the norm's input */
    int64_t stride; /* floats */
    const float *weight;
    int64_t rows;
    int heads;
    int64_t width;
    float eps;
    bool accumulate;
};

static inline int64_t kernels_cuda_norm_parts(int64_t rows)
{
    return (rows + KERNELS_CUDA_NORM_ROWS - 1) / KERNELS_CUDA_NORM_ROWS;
}

/* dgate and dup may lie where any of the inputs do. */
struct kernels_cuda_swiglu_gradient {
    float *dgate, *dup; /* [count] */
    const float *dy;
    const float *gate, *up; /* the op's inputs */
    int64_t count;
};

/* sums[i] += Sum_r x[r * stride + i]: the gradient of a bias. */
struct kernels_cuda_column_sums {
    float *sums;    /* [width] */
    const float *x; /* row r at x + r * stride */
    int64_t stride; /* floats */
    int64_t rows, width;
};

/* dweight[ids[t]][i] += Sum of dy[r][i] over r = order[first[t]], ..., order[first[t + 1] - 1], in
 * that sequence. */
struct kernels_cuda_embed_gradient {
    float *dweight;       /* [vocab, width] */
    const float *dy;      /* [., width] */
    const int32_t *ids;   /* [tokens], no two alike */
    const int32_t *first; /* [tokens + 1] */
    const int32_t *order; /* [first[tokens]] */
    int64_t tokens, width;
};

/* sum[i] += x[i]. Aligned to floats. */
struct kernels_cuda_add {
    float *sum; /* [count] */
    const float *x;
    int64_t count;
};

struct kernels_cuda_copy_rows {
    float *out;         /* [rows, width], row r at out + r * out_stride */
    int64_t out_stride; /* floats, a multiple of 4, as x_stride and width */
    const float *x;     /* row r at x + r * x_stride */
    int64_t x_stride;
    int64_t rows, width;
};

struct kernels_cuda_round {
    void *out; /* [rows, width] operand, dense */
    enum dtype operand;
    const float *x;      /* row r at x + r * x_stride */
    int64_t x_stride;    /* floats, a multiple of 4 */
    int64_t rows, width; /* width a multiple of 4 */
};

/* cross_entropy.h, a loss a row: -ln p[target], 0 where the target is -1. */
struct kernels_cuda_cross_entropy {
    float *logits;          /* [rows, width] dense; becomes their gradients */
    double *losses;         /* [rows] */
    const int32_t *targets; /* [rows] */
    int64_t rows, width;
    float weight;
};

/* sums[s] = Sum x[i]^2 over the KERNELS_CUDA_SQUARES numbers from s * KERNELS_CUDA_SQUARES on, in
 * float64. */
struct kernels_cuda_squares {
    double *sums;   /* [kernels_cuda_squares_sums(count)] */
    const float *x; /* [count] */
    int64_t count;
};

static inline int64_t kernels_cuda_squares_sums(int64_t count)
{
    return (count + KERNELS_CUDA_SQUARES - 1) / KERNELS_CUDA_SQUARES;
}

struct kernels_cuda {
    int (*embed)(const struct kernels_cuda_embed *args, struct CUstream_st *stream);
    int (*rmsnorm)(const struct kernels_cuda_rmsnorm *args, struct CUstream_st *stream);
    int (*norm_heads)(const struct kernels_cuda_norm_heads *args, struct CUstream_st *stream);
    int (*bias)(const struct kernels_cuda_bias *args, struct CUstream_st *stream);
    int (*rope_table)(const struct kernels_cuda_rope_table *args, struct CUstream_st *stream);
    int (*rope_queries)(const struct kernels_cuda_rope_queries *args, struct CUstream_st *stream);
    int (*rope_store)(const struct kernels_cuda_rope_store *args, struct CUstream_st *stream);
    int (*attention_prefill)(const struct kernels_cuda_prefill *args, struct CUstream_st *stream);
    int (*attention_decode)(const struct kernels_cuda_decode *args, struct CUstream_st *stream);
    int (*attention_combine)(const struct kernels_cuda_combine *args, struct CUstream_st *stream);
    int (*attention_finish)(const struct kernels_cuda_finish *args, struct CUstream_st *stream);
    int (*swiglu)(const struct kernels_cuda_swiglu *args, struct CUstream_st *stream);
    int (*dequantize)(const struct kernels_cuda_dequantize *args, struct CUstream_st *stream);
    int (*matmul_decode)(const struct kernels_cuda_matmul *args, struct CUstream_st *stream);
    int (*logits)(const struct kernels_cuda_logits *args, struct CUstream_st *stream);
    int (*survey)(const struct kernels_cuda_survey *args, struct CUstream_st *stream);
    int (*attention_train)(const struct kernels_cuda_attention_train *args,
                           struct CUstream_st *stream);
    int (*attention_dots)(const struct kernels_cuda_attention_dots *args,
                          struct CUstream_st *stream);
    int (*attention_gradient)(const struct kernels_cuda_attention_gradient *args,
                              struct CUstream_st *stream);
    int (*rope_gradient)(const struct kernels_cuda_rope_gradient *args, struct CUstream_st *stream);
    int (*rmsnorm_gradient)(const struct kernels_cuda_rmsnorm_gradient *args,
                            struct CUstream_st *stream);
    int (*swiglu_gradient)(const struct kernels_cuda_swiglu_gradient *args,
                           struct CUstream_st *stream);
    int (*column_sums)(const struct kernels_cuda_column_sums *args, struct CUstream_st *stream);
    int (*embed_gradient)(const struct kernels_cuda_embed_gradient *args,
                          struct CUstream_st *stream);
    int (*add)(const struct kernels_cuda_add *args, struct CUstream_st *stream);
    int (*copy_rows)(const struct kernels_cuda_copy_rows *args, struct CUstream_st *stream);
    int (*round)(const struct kernels_cuda_round *args, struct CUstream_st *stream);
    int (*cross_entropy)(const struct kernels_cuda_cross_entropy *args, struct CUstream_st *stream);
    int (*squares)(const struct kernels_cuda_squares *args, struct CUstream_st *stream);
    int (*adamw)(const struct adamw_args *args, struct CUstream_st *stream);
};

/* The kernels for the device that is current; never NULL. Says nothing about whether there is one:
 * calls without a device return its error. Built only with LONGHAUL_CUDA. */
const struct kernels_cuda *kernels_cuda_find(void);

/* The same without what is written for one architecture: for tests and benches beside it. */
const struct kernels_cuda *kernels_cuda_find_portable(void);
