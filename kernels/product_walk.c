/* Owns the walk of product_walk.h: what is copied and multiplied when; no arithmetic. */
#include "kernels/product_walk.h"

#include <assert.h>
#include <string.h>

/* A call, and the parts of k and of C that it is at. */
struct walk {
    const struct product_args *args;
    const struct product_walk_ops *ops;
    char *a, *b, *spare;
    int64_t k, depth;        /* k in [k, k + depth) */
    int64_t column, columns; /* of the copied part of B */
    int64_t row, rows;       /* of the copied part of A */
};

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void copy_columns(const struct walk *walk)
{
    const struct product_args *args = walk->args;
    for (int64_t j = 0; j < walk->columns; j += PRODUCT_WALK_COLUMNS) {
        const struct product_lines lines = {.from = args->b + walk->k * args->b_row +
                                                    (walk->column + j) * args->b_column,
                                            .line_stride = args->b_column,
                                            .depth_stride = args->b_row,
                                            .lines = least(PRODUCT_WALK_COLUMNS, walk->columns - j),
                                            .width = walk->ops->tile_columns,
                                            .depth = walk->depth};
        size_t at = (size_t)(j * PRODUCT_DEPTH) * walk->ops->element;
        walk->ops->copy_b(walk->b + at, &lines, walk->spare);
    }
}

static void copy_rows(const struct walk *walk)
{
    const struct product_args *args = walk->args;
    const struct product_lines lines = {.from = args->a + walk->row * args->a_row +
                                                walk->k * args->a_column,
                                        .line_stride = args->a_row,
                                        .depth_stride = args->a_column,
                                        .lines = walk->rows,
                                        .width = walk->ops->tile_rows,
                                        .depth = walk->depth};
    walk->ops->copy_a(walk->a, &lines, walk->spare);
}

static void multiply_tiles(const struct walk *walk)
{
    const struct product_args *args = walk->args;
    const struct product_walk_ops *ops = walk->ops;
    struct product_tile tile = {.c_stride = args->c_stride,
                                .depth = walk->depth,
                                .accumulate = args->accumulate || walk->k > 0};
    for (int64_t j = 0; j < walk->columns; j += ops->tile_columns) {
        tile.columns = (int)least(ops->tile_columns, walk->columns - j);
        tile.b = walk->b + (size_t)(j * PRODUCT_DEPTH) * ops->element;
        for (int64_t i = 0; i < walk->rows; i += ops->tile_rows) {
            tile.rows = (int)least(ops->tile_rows, walk->rows - i);
            tile.a = walk->a + (size_t)(i * PRODUCT_DEPTH) * ops->element;
            tile.c = args->c + (walk->row + i) * args->c_stride + walk->column + j;
            ops->multiply(&tile);
        }
    }
}

static void clear(const struct product_args *args)
{
    for (int64_t i = 0; i < args->rows; i++)
        memset(args->c + i * args->c_stride, 0, (size_t)args->columns * sizeof *args->c);
}

void product_walk(const struct product_args *args, const struct product_walk_ops *ops)
{
    size_t a_bytes = (size_t)(PRODUCT_ROWS * PRODUCT_DEPTH) * ops->element;
    size_t b_bytes = (size_t)(PRODUCT_COLUMNS * PRODUCT_DEPTH) * ops->element;
    assert(PRODUCT_ROWS % ops->tile_rows == 0 && PRODUCT_WALK_COLUMNS % ops->tile_columns == 0);
    assert(a_bytes + b_bytes + ops->spare <= PRODUCT_SCRATCH_BYTES);
    struct walk walk = {.args = args, .ops = ops, .a = args->scratch};
    walk.b = walk.a + a_bytes;
    walk.spare = walk.b + b_bytes;
    if (args->rows == 0 || args->columns == 0)
        return;
    if (args->depth == 0 && !args->accumulate)
        clear(args);
    for (; walk.column < args->columns; walk.column += PRODUCT_COLUMNS) {
        walk.columns = least(PRODUCT_COLUMNS, args->columns - walk.column);
        for (walk.k = 0; walk.k < args->depth; walk.k += PRODUCT_DEPTH) {
            walk.depth = least(PRODUCT_DEPTH, args->depth - walk.k);
            copy_columns(&walk);
            for (walk.row = 0; walk.row < args->rows; walk.row += PRODUCT_ROWS) {
                walk.rows = least(PRODUCT_ROWS, args->rows - walk.row);
                copy_rows(&walk);
                multiply_tiles(&walk);
            }
        }
    }
}
