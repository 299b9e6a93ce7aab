/* What the fast variants of the prefill product share: the walk over k, panels and tiles of rows of
 * a call. A variant adds the arithmetic of one tile.
 *
 * For `kept` elements of k at a time, x is copied into dense rows as operands and up to `panels`
 * panels are expanded to operands, which stay in cache while every tile of rows is multiplied with
 * them. So kept elements are summed one after the other, and these parts are added in ascending
 * order; no other row, column or cut of the output has a part in it.
 */
#pragma once

#include "kernels/kernels.h"
#include "kernels/matmul_panel.h"

enum { MATMUL_TILE_ROWS = 6, MATMUL_TILE_PANELS = 4 };

/* y [rows, width] = or += x times weights, over `count` elements of k */
struct matmul_tile {
    float *y; /* row r at y + r * y_stride */
    int64_t y_stride;
    int rows;      /* 1..MATMUL_TILE_ROWS */
    int64_t width; /* 1..panels * MATMUL_SPLIT, more than all panels but the last hold */
    int panels;    /* 1..matmul_tile_ops.panels */
    const void *x; /* [MATMUL_TILE_ROWS] rows of operands; zeros in those that are not there */
    const void *weights[MATMUL_TILE_PANELS]; /* blocks of operands each, of `count` elements */
    int64_t count;                           /* a multiple of MATMUL_PANEL_DEPTH, <= kept */
    bool accumulate;
};

struct matmul_tile_ops {
    int64_t kept;       /* a multiple of MATMUL_PANEL_DEPTH */
    int panels;         /* of a tile, <= MATMUL_TILE_PANELS */
    size_t row_bytes;   /* operands of `kept` elements of a row of x */
    size_t block_bytes; /* operands of a block of a panel */

    /* Operands of `count` elements, a multiple of MATMUL_PANEL_DEPTH, from x [real], real <= count;
     * behind them zeros. */
    void (*copy_row)(void *row, const float *x, int64_t real, int64_t count);

    /* A block to operands, in the variant's own order. NULL where a block is them already. */
    void (*expand[MATMUL_LAYOUT_COUNT])(void *operands, const char *block);

    void (*multiply)(const struct matmul_tile *tile);
};

void matmul_walk(const struct matmul_args *args, const struct matmul_tile_ops *ops);

size_t matmul_walk_scratch_bytes(const struct matmul_tile_ops *ops);

/* matmul_tile_ops.copy_row where operands are float32. */
void matmul_walk_copy_floats(void *row, const float *x, int64_t real, int64_t count);
