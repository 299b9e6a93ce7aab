/* The AVX-512 kernels built over tests/support/emulated/immintrin.h: the sources of kernels/ with
 * their external names changed by the compiler's command line, see CMakeLists.txt. They need AVX2,
 * FMA and F16C. */
#pragma once

#include <stddef.h>

#include "kernels/kernels.h"

void attention_avx512_emulated_install(struct kernels *kernels);
void attention_gradient_avx512_emulated_install(struct kernels *kernels);
void matmul_avx512_emulated_install(struct kernels *kernels);
void product_avx512_emulated_install(struct kernels *kernels);
size_t attention_avx512_emulated_scratch_bytes(const struct kernels_limits *limits);
size_t matmul_avx512_emulated_scratch_bytes(const struct kernels_limits *limits);

void attention_avx512_bf16_emulated_install(struct kernels *kernels);
void matmul_avx512_bf16_emulated_install(struct kernels *kernels);
void product_avx512_bf16_emulated_install(struct kernels *kernels);
size_t attention_avx512_bf16_emulated_scratch_bytes(const struct kernels_limits *limits);
size_t matmul_avx512_bf16_emulated_scratch_bytes(const struct kernels_limits *limits);
