/* The cap of attention scores (kernels/attention.h), for every variant that walks panels: all of
 * them have AVX2. */
#pragma once

/* x[i] becomes out * tanh(in * x[i]), count a multiple of 8; of a NaN a NaN. The error is below
 * 1e-6 of `out`. */
void attention_cap_avx2(float *x, int count, float in, float out);
