/* What the AVX2 variant of training's attention lends to AVX-512's: all but its register tile. The
 * contracts are those of struct attention_gradient_ops.
 */
#pragma once

#include "kernels/attention_gradient_walk.h"

void attention_gradient_avx2_pack_rows(float *panels, const float *const *rows, int count,
                                       int head_dim, float scale);
void attention_gradient_avx2_pack_columns(float *panels, const float *const *rows, int count,
                                          int head_dim);
void attention_gradient_avx2_softmax(float *scores, struct attention_gradient_columns columns,
                                     float *max, float *sum, float *acc, int head_dim);
void attention_gradient_avx2_differentiate(float *scores, float *dp,
                                           struct attention_gradient_columns columns,
                                           float logsumexp, float dot);
