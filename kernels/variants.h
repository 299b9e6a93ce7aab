/* What kernels.c builds its table from: for every op and instruction set one function that puts the
 * op's entries into a row of the table, and the scratch that they need. Nothing but kernels.c, the
 * variants themselves and their tests include this.
 */
#pragma once

#include "kernels/kernels.h"

void attention_ref_install(struct kernels *kernels);
void attention_ref(const struct attention_args *args);
void attention_ref_finish(float *out, const float *acc, const float *sum, int64_t rows,
                          int head_dim);
void attention_int8_ref_install(struct kernels *kernels);
void matmul_ref_install(struct kernels *kernels);
void product_ref_install(struct kernels *kernels);
void rope_ref_install(struct kernels *kernels);
void rmsnorm_ref_install(struct kernels *kernels);
void swiglu_ref_install(struct kernels *kernels);
void logsumexp_ref_install(struct kernels *kernels);
void finite_ref_install(struct kernels *kernels);
void largest_ref_install(struct kernels *kernels);
void attention_gradient_ref_install(struct kernels *kernels);
void rows_gradient_ref_install(struct kernels *kernels);
void cross_entropy_ref_install(struct kernels *kernels);
void adamw_ref_install(struct kernels *kernels);
void adamw_ref(const struct adamw_args *args);

size_t attention_ref_scratch_bytes(const struct kernels_limits *limits);
size_t attention_int8_ref_scratch_bytes(const struct kernels_limits *limits);
size_t matmul_ref_scratch_bytes(const struct kernels_limits *limits);

/* AVX2, FMA */
void attention_avx2_install(struct kernels *kernels);
void attention_integers_avx2_install(struct kernels *kernels); /* of prefill */
void attention_int8_avx2_install(struct kernels *kernels);
void attention_gradient_avx2_install(struct kernels *kernels);
void rows_gradient_avx2_install(struct kernels *kernels);
void cross_entropy_avx2_install(struct kernels *kernels);
void adamw_avx2_install(struct kernels *kernels);
void matmul_avx2_install(struct kernels *kernels);
void matmul_decode_avx2(const struct matmul_args *args);
void matmul_decode_avx2_vnni(const struct matmul_args *args); /* AVX-VNNI too */
void matmul_plain_avx2(const struct matmul_args *args);       /* prefill with plain weights */
void matmul_prefill_avx2(const struct matmul_args *args);
void matmul_prefill_avx2_vnni(const struct matmul_args *args);
void product_avx2_install(struct kernels *kernels);
void rope_avx2_install(struct kernels *kernels);
void rmsnorm_avx2_install(struct kernels *kernels);
void swiglu_avx2_install(struct kernels *kernels);
void finite_avx2_install(struct kernels *kernels);
void largest_avx2_install(struct kernels *kernels);

size_t attention_avx2_scratch_bytes(const struct kernels_limits *limits);
size_t attention_integers_avx2_scratch_bytes(const struct kernels_limits *limits);
size_t attention_int8_avx2_scratch_bytes(const struct kernels_limits *limits);
size_t matmul_avx2_scratch_bytes(const struct kernels_limits *limits);

/* AVX-512 F, BW, VL beside those */
void attention_avx512_install(struct kernels *kernels);
void attention_gradient_avx512_install(struct kernels *kernels);
void matmul_avx512_install(struct kernels *kernels);
void product_avx512_install(struct kernels *kernels);
void product_avx512(const struct product_args *args);
void matmul_decode_avx512(const struct matmul_args *args);
void matmul_decode_avx512_vnni(const struct matmul_args *args); /* AVX-512 VNNI too */
void matmul_plain_avx512(const struct matmul_args *args);       /* prefill with plain weights */
void matmul_prefill_avx512(const struct matmul_args *args);
void matmul_prefill_avx512_vnni(const struct matmul_args *args);
void attention_int8_avx512_vnni_install(struct kernels *kernels);

size_t attention_avx512_scratch_bytes(const struct kernels_limits *limits);
size_t attention_int8_avx512_vnni_scratch_bytes(const struct kernels_limits *limits);
size_t matmul_avx512_scratch_bytes(const struct kernels_limits *limits);

/* BF16 beside those */
void attention_avx512_bf16_install(struct kernels *kernels);
void matmul_avx512_bf16_install(struct kernels *kernels);
void product_avx512_bf16_install(struct kernels *kernels);

size_t attention_avx512_bf16_scratch_bytes(const struct kernels_limits *limits);
size_t matmul_avx512_bf16_scratch_bytes(const struct kernels_limits *limits);
