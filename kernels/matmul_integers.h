/* Prefill products of matmul.h with quantised weights as 16-bit integers: the operands, and the
 * walk of a call, for all variants that have AVX2. A variant adds the arithmetic of a tile.
 *
 * Weights are the integers that they are, with x as matmul_input_avx2.h's integers: one instruction
 * multiplies twice as many of them as of floats. A block's sums are exact; a variant scales them
 * and adds them up in float32, block after block, as matmul_walk.h says; what a minimum adds is its
 * product with the block's sum of x.
 */
#pragma once

#include "kernels/matmul_walk.h"

enum {
    MATMUL_INTEGERS_KEPT = 256,
    MATMUL_INTEGERS_BLOCKS = MATMUL_INTEGERS_KEPT / MATMUL_PANEL_DEPTH,
    MATMUL_INTEGERS_PAIRS = MATMUL_PANEL_DEPTH / 2,
    MATMUL_INTEGERS_PANELS = 2, /* of a tile with 512 bits */
};

/* Operands of `kept` elements of a row of x. */
struct matmul_integers_row {
    int16_t units[MATMUL_INTEGERS_BLOCKS][MATMUL_PANEL_DEPTH]; /* in pairs, as those of weights */
    float unit[MATMUL_INTEGERS_BLOCKS];
    float sums[MATMUL_INTEGERS_BLOCKS];
};

/* Operands of a block: an element is quant * d[part] + m. */
struct matmul_integers_block {
    int16_t quants[MATMUL_INTEGERS_PAIRS][MATMUL_SPLIT][2];
    float d[2][MATMUL_SPLIT];
    float m[MATMUL_SPLIT];
};

/* A variant's tiles: of blocks with a scale, with a minimum too, and with that and two scales. */
struct matmul_integers_tiles {
    int panels;
    void (*scaled)(const struct matmul_tile *tile);
    void (*minimum)(const struct matmul_tile *tile);
    void (*wide)(const struct matmul_tile *tile);
};

/* A call with quantised weights. */
void matmul_integers_walk(const struct matmul_args *args,
                          const struct matmul_integers_tiles *tiles);

size_t matmul_integers_scratch_bytes(int panels);
