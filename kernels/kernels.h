/* The table of CPU kernels: one row of function pointers a variant, chosen once by name, without
 * state.
 *
 * A variant is a whole: its operand and cache types, its packed weight layout and its sums' order
 * belong together, and all ranks of a group use the same one (docs/architecture.md, "The same
 * bits"). `reference` is the plainest code that is right and runs anywhere. A faster variant starts
 * as a copy of the next slower one and overwrites what it does better.
 *
 * | variant      | operands        | cache          | needs                  |
 * | reference    | float32         | float32        | any CPU                |
 * | avx2         | bf16 q, f32 sum | bf16 panels    | AVX2, FMA, F16C        |
 * | avx512       | bf16 q, f32 sum | bf16 panels    | AVX-512 F/BW/VL        |
 * | avx512_bf16  | bf16            | bf16 panels    | AVX-512 F/BW/VL, BF16  |
 *
 * With AVX2 attention of prefill rounds to 16-bit integers (attention_integers.h).
 *
 * Norm, rope, swiglu, the merging of states and the storing of keys and values are AVX2's in both
 * AVX-512 variants, which share their decode products. Where the CPU has VNNI, decode products use
 * it: the same integers in one instruction for two, so the same bits.
 *
 * Each variant is there a second time with int8 panels and float32 queries (attention_int8.h).
 *
 * No kernel allocates; scratch comes from the caller, one per thread, 64-byte aligned,
 * scratch_bytes() long but for products of product.h, whose header has its size. "Row" means one
 * token's vector. All sums are float32. Rows are independent: a row's result does not depend on
 * which rows are computed with it, nor on how many.
 *
 * A NaN is never lost: whatever has a part in an output makes it a NaN if it is one, whatever its
 * sign and payload. So does, but for minus infinity among attention's scores, what is infinite,
 * or it leaves an infinity: so rows of queries and keys are looked at before they are attended to.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/attention_gradient.h"
#include "kernels/cross_entropy.h"
#include "kernels/dtype.h"
#include "kernels/matmul.h"
#include "kernels/product.h"
#include "kernels/rope.h"
#include "kernels/rows_gradient.h"

/* Largest sizes that one call sees; the caller cuts its work to these. */
struct kernels_limits {
    int64_t rows;      /* rows of a prefill product, <= KERNELS_ROWS_MAX */
    int64_t width_max; /* largest `in` of any product: max(hidden, heads * head_dim, ffn) */
    int head_dim;
    int group; /* query heads of one KV head */
};

enum { KERNELS_ROWS_MAX = 192 };

struct kernels {
    const char *name;
    enum dtype operand; /* of rotated queries: DTYPE_F32 or DTYPE_BF16 */
    enum dtype cache;   /* of packed keys and values: DTYPE_F32, DTYPE_BF16 or DTYPE_INT8 */

    /* Bytes of scratch a thread needs for any call within the limits; a multiple of 64. */
    size_t (*scratch_bytes)(const struct kernels_limits *limits);

    /* matmul.h */
    size_t (*matmul_packed_bytes)(enum dtype dtype, int64_t out, int64_t in);
    void (*matmul_pack)(void *packed, const void *rows, enum dtype dtype, int64_t out, int64_t in);
    void (*matmul_row)(float *row, const struct matmul_weights *weights, int64_t out_index);
    void (*matmul_prefill)(const struct matmul_args *args);
    void (*matmul_decode)(const struct matmul_args *args);

    /* product.h */
    void (*product)(const struct product_args *args);

    /* rope.h */
    void (*rope_queries)(const struct rope_args *args);
    void (*rope_keys)(const struct rope_args *args);

    /* attention.h */
    void (*attention_store_keys)(void *record, int64_t row, const float *keys, int kv_heads,
                                 int head_dim);
    void (*attention_store_values)(void *record, int64_t row, const float *values, int kv_heads,
                                   int head_dim);
    void (*attention_prefill)(const struct attention_args *args);
    void (*attention_decode)(const struct attention_args *args);
    void (*attention_merge)(const struct attention_merge_args *args);
    void (*attention_finish)(float *out, const float *acc, const float *sum, int64_t rows,
                             int head_dim);

    /* y[r][i] = x[r][i] / sqrt(mean_i x[r][i]^2 + eps) * weight[i]; x, y [rows, width] dense, may
     * be the same. */
    void (*rmsnorm)(float *y, const float *x, const float *weight, int64_t rows, int64_t width,
                    float eps);
    /* gate[i] = gate[i] / (1 + e^-gate[i]) * up[i]; the error of the exponential is below 2 ulp of
     * float32. */
    void (*swiglu)(float *gate, const float *up, int64_t count);
    /* gate[i] = g / 2 * (1 + tanh(sqrt(2 / pi) * (g + 0.044715 g^3))) * up[i] with g = gate[i]:
     * GELU by tanh. As swiglu's, the error of the exponential is below 2 ulp of float32. */
    void (*geglu)(float *gate, const float *up, int64_t count);
    /* ln sum_i e^x[i], summed in float64 after the maximum is taken off; count >= 1. A NaN where an
     * x is not finite. */
    double (*logsumexp)(const float *x, int64_t count);
    /* The first row of x [rows, width] dense with a NaN or an infinity in it; rows: none has. */
    int64_t (*finite_rows)(const float *x, int64_t rows, int64_t width);
    /* Where the first of the largest of x [count] is, all of them finite; count >= 1. */
    int64_t (*largest)(const float *x, int64_t count);

    /* Of training: float32 in every variant. */

    /* attention_gradient.h */
    void (*attention_gradient_forward)(const struct attention_gradient_tile *tile,
                                       const struct attention_gradient_state *state);
    void (*attention_gradient_backward)(const struct attention_gradient_tile *tile,
                                        const struct attention_gradient_flow *flow);
    void (*attention_gradient_finish)(float *acc, float *max, const float *sum, int64_t rows,
                                      int head_dim);
    void (*attention_gradient_dots)(float *dot, const float *dout, const float *out, int64_t rows,
                                    int head_dim);

    /* rows_gradient.h */
    void (*rmsnorm_gradient)(const struct rmsnorm_gradient_args *args);
    void (*swiglu_gradient)(const struct swiglu_gradient_args *args);
    void (*bias_gradient)(float *dbias, const float *dy, int64_t dy_stride, int64_t rows,
                          int64_t width);
    void (*add)(float *sum, const float *x, int64_t count);
    void (*rope_gradient)(const struct rope_args *args, bool accumulate);

    /* cross_entropy.h: the loss. */
    double (*cross_entropy)(const struct cross_entropy_args *args);

    /* adamw.h */
    void (*adamw)(const struct adamw_args *args);
    double (*sum_of_squares)(const float *x, int64_t count);
};

/* The variants that are compiled in, best last; `index` from 0. NULL past the end. */
const struct kernels *kernels_at(int index);

/* By name; NULL when there is none. Says nothing about this CPU. */
const struct kernels *kernels_find(const char *name);

/* The same variant, one of the table's, with its keys and values in int8. */
const struct kernels *kernels_int8(const struct kernels *kernels);

/* Whether this CPU can run it. */
bool kernels_runs_here(const struct kernels *kernels);

/* The best one that runs here; never NULL. */
const struct kernels *kernels_best(void);
