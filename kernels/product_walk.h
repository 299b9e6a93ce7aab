/* What the fast variants of product.h share: the walk over parts of k, of columns and of rows, in
 * which panels of A and B are copied to where they stay in cache. A variant adds the arithmetic of
 * one tile of C.
 *
 * PRODUCT_DEPTH elements of k at a time, up to PRODUCT_COLUMNS columns of B and PRODUCT_ROWS rows
 * of A are copied. A panel of B has as many columns as a tile, [depth, columns]; it stays in the
 * first-level cache while all panels of A, which stay in the second-level cache, are multiplied
 * with it. A panel of A has as many rows as a tile, in groups of PRODUCT_WALK_GROUP elements of k:
 * [depth / group, rows, group], so that rows of A are copied in vectors whether they are dense
 * along k or along i.
 */
#pragma once

#include "kernels/kernels.h"

enum {
    PRODUCT_WALK_GROUP = 8,
    PRODUCT_WALK_LINES = PRODUCT_ROWS, /* for B it is less: PRODUCT_WALK_COLUMNS */
    PRODUCT_WALK_COLUMNS = 128,
};

/* What is copied in one call: `lines` of a matrix (rows of A, columns of B), into panels of `width`
 * lines each, PRODUCT_DEPTH * width elements apart. Lines that the last panel lacks are zeros. */
struct product_lines {
    const float *from; /* element k of line l at from[l * line_stride + k * depth_stride] */
    int64_t line_stride, depth_stride;
    int64_t lines; /* 1..PRODUCT_WALK_LINES */
    int width;
    int64_t depth;
};

/* c [rows, columns] = or += A panel times B panel */
struct product_tile {
    float *c;
    int64_t c_stride;
    int rows, columns; /* of the variant's tile, fewer at the edges of C */
    const void *a, *b;
    int64_t depth; /* 1..PRODUCT_DEPTH */
    bool accumulate;
};

struct product_walk_ops {
    int tile_rows;    /* divides PRODUCT_ROWS */
    int tile_columns; /* divides PRODUCT_COLUMNS */
    size_t element;   /* bytes of one in a copied panel */
    size_t spare;     /* bytes of scratch that the copying needs besides, behind the panels */
    void (*copy_a)(void *panels, const struct product_lines *from, void *spare);
    void (*copy_b)(void *panels, const struct product_lines *from, void *spare);
    void (*multiply)(const struct product_tile *tile);
};

void product_walk(const struct product_args *args, const struct product_walk_ops *ops);
