/* The walk of training's attention, shared by the fast variants: it packs operands, cuts a tile
 * into strips of rows and panels of columns, and leaves out those without a visible pair. A variant
 * brings what is done to them.
 *
 * A packed operand is panels of 16 columns, one behind the other: [panels][ATTENTION_SPANS_TOKENS
 * or head_dim][16].
 */
#pragma once

#include "kernels/attention_gradient.h"

enum {
    ATTENTION_GRADIENT_SIDE = ATTENTION_SPANS_TOKENS, /* rows of a block, and keys of a tile */
    ATTENTION_GRADIENT_PANEL = 16,                    /* columns of a packed operand's panel */
    ATTENTION_GRADIENT_STRIP = 12,                    /* rows of the largest register tile */
};

/* c[r][x] (+)= Sum_k a(r, k) b[x / 16][k][x % 16], summed from zero in ascending order of k, in one
 * chain of fused additions. a(r, k)
 * lies at a + r * a_row + k / a_depth * a_block + k % a_depth * a_column; depth is a multiple of
 * a_depth, or below it. */
struct attention_gradient_product {
    const float *a;
    int64_t a_row, a_column, a_block;
    int a_depth;
    const float *b;
    int64_t b_panel; /* floats from panel to panel */
    int depth;
    float *c[ATTENTION_GRADIENT_STRIP];
    bool accumulate;
};

/* Of a row's scores, columns [from, to), multiples of 16, are to be filled: [first, end) with what
 * the row sees, which may be nothing, the others with 0. */
struct attention_gradient_columns {
    int from, to;
    int first, end;
};

struct attention_gradient_ops {
    int strip_rows;  /* of the register tile, a divisor of ATTENTION_GRADIENT_SIDE */
    int tile_panels; /* a divisor of ATTENTION_GRADIENT_SIDE / ATTENTION_GRADIENT_PANEL */

    /* rows <= strip_rows, panels <= tile_panels */
    void (*multiply)(const struct attention_gradient_product *product, int rows, int panels);

    /* panels[d / 16][r][d % 16] = scale * rows[r][d] */
    void (*pack_rows)(float *panels, const float *const *rows, int count, int head_dim,
                      float scale);
    /* panels[r / 16][d][r % 16] = rows[r][d]; 0 up to the next multiple of 16 rows */
    void (*pack_columns)(float *panels, const float *const *rows, int count, int head_dim);

    /* Scores of a row to 2^(score - maximum), and its state's step to the new maximum. */
    void (*softmax)(float *scores, struct attention_gradient_columns columns, float *max,
                    float *sum, float *acc, int head_dim);
    /* scores to p = 2^(score - logsumexp), dp to ln 2 * p * (dp - dot). */
    void (*differentiate)(float *scores, float *dp, struct attention_gradient_columns columns,
                          float logsumexp, float dot);
};

void attention_gradient_walk_forward(const struct attention_gradient_tile *tile,
                                     const struct attention_gradient_state *state,
                                     const struct attention_gradient_ops *ops);
void attention_gradient_walk_backward(const struct attention_gradient_tile *tile,
                                      const struct attention_gradient_flow *flow,
                                      const struct attention_gradient_ops *ops);
