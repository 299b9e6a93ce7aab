/* What kernels_cuda.c builds its table from: one function for each file of CUDA kernels. */
#pragma once

#include "kernels/kernels_cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

void attention_cuda_install(struct kernels_cuda *kernels);
/* After attention_cuda_install: what it has no path for stays as it is. */
void attention_hopper_cuda_install(struct kernels_cuda *kernels);
void attention_decode_cuda_install(struct kernels_cuda *kernels);
void rows_cuda_install(struct kernels_cuda *kernels);
void rope_cuda_install(struct kernels_cuda *kernels);
void matmul_cuda_install(struct kernels_cuda *kernels);
void survey_cuda_install(struct kernels_cuda *kernels);
void attention_gradient_cuda_install(struct kernels_cuda *kernels);
void rows_gradient_cuda_install(struct kernels_cuda *kernels);

#ifdef __cplusplus
}
#endif
