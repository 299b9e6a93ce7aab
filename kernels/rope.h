/* Rotary position embedding, rotate-half pairing: element p and p + head_dim / 2 rotate by position
 * * inv_freq[p].
 *
 *   out[p]        = x[p] cos - x[p + half] sin
 *   out[p + half] = x[p + half] cos + x[p] sin
 *
 * Angles are formed in float64 from positions that kernels/bands.h gives; the table is float32.
 */
#pragma once

#include "kernels/bands.h"

/* Where a row of the table stands, and what its cos and sin are multiplied by: 1 but for YaRN and
 * for queries under `logn`. */
struct rope_place {
    double position, magnitude;
};

/* table [count, half, 2]: cos and sin of places[t].position * inv_freq[p], both times the place's
 * magnitude. */
void rope_table(float *table, const struct rope_place *places, int64_t count,
                const double *inv_freq, int half);

/* What `logn=L` multiplies the query of `index` by, max(1, ln(index + 1) / ln L), given ln L; 1
 * where that is 0. */
BANDS_CALL double rope_logn(double logn, int64_t index)
{
    const double factor = logn > 0 ? log((double)(index + 1)) / logn : 1;
    return factor > 1 ? factor : 1;
}

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
