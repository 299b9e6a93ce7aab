/* Rotary position embedding, rotate-half pairing: element p and p + head_dim / 2 rotate by position
 * * inv_freq[p].
 *
 *   out[p]        = x[p] cos - x[p + half] sin
 *   out[p + half] = x[p + half] cos + x[p] sin
 *
 * Angles are formed in float64 from positions that kernels/bands.h gives; the table is float32.
 */
#pragma once

#include <stdint.h>

/* table [count, half, 2]: cos and sin of positions[t] * inv_freq[p], both times `magnitude` (1 but
 * for YaRN). */
void rope_table(float *table, const double *positions, int64_t count, const double *inv_freq,
                int half, double magnitude);

struct rope_args {
    void *out; /* [tokens, heads, head_dim]: the variant's operand type (queries), float32 (keys) */
    int64_t out_stride; /* elements from token to token */
    const float *x;     /* [tokens, heads, head_dim]; keys may be rotated in place */
    int64_t x_stride;
    const float *table; /* [tokens, head_dim / 2, 2] */
    int64_t tokens;
    int heads;
    int head_dim;
};
