/* Owns the walk of matmul_walk.h: what is copied, expanded and multiplied when; no arithmetic. */
#include "kernels/matmul_walk.h"

#include <assert.h>
#include <string.h>

_Static_assert(KERNELS_ROWS_MAX % MATMUL_TILE_ROWS == 0, "x scratch holds whole tiles");

/* A call, and the part of k that it is at. */
struct walk {
    const struct matmul_args *args;
    const struct matmul_tile_ops *ops;
    char *x;            /* [KERNELS_ROWS_MAX] rows of operands */
    char *expanded;     /* [panels] of blocks of operands, for `kept` elements each */
    int64_t first, end; /* blocks of k */
    enum matmul_layout layout;
    bool accumulate;
};

void matmul_walk_copy_floats(void *row, const float *x, int64_t real, int64_t count)
{
    memcpy(row, x, (size_t)real * sizeof *x);
    memset((float *)row + real, 0, (size_t)(count - real) * sizeof *x);
}

/* Every row's part of k, up to whole tiles of rows. */
static void copy_rows(const struct walk *walk)
{
    const struct matmul_args *args = walk->args;
    int64_t first = walk->first * MATMUL_PANEL_DEPTH;
    int64_t count = (walk->end - walk->first) * MATMUL_PANEL_DEPTH;
    int64_t real = matmul_least(count, args->weights->in - first);
    char *x = walk->x;
    for (int64_t r = 0; r < args->rows; r++, x += walk->ops->row_bytes)
        walk->ops->copy_row(x, args->x + r * args->x_stride + first, real, count);
    for (int64_t r = args->rows; r % MATMUL_TILE_ROWS != 0; r++, x += walk->ops->row_bytes)
        memset(x, 0, walk->ops->row_bytes);
}

/* Of the operands of a panel's `kept` elements. */
static size_t panel_bytes(const struct matmul_tile_ops *ops)
{
    return (size_t)(ops->kept / MATMUL_PANEL_DEPTH) * ops->block_bytes;
}

/* The operands of the panel of output `out`: panel `p` of those expanded, or in place. */
static const void *expand_panel(const struct walk *walk, int p, int64_t out)
{
    const struct matmul_weights *weights = walk->args->weights;
    size_t block_bytes = matmul_panel_block_bytes(walk->layout);
    int64_t block = out / MATMUL_SPLIT * matmul_panel_blocks(weights->in) + walk->first;
    const char *at = (const char *)weights->packed + (size_t)block * block_bytes;
    if (!walk->ops->expand[walk->layout])
        return at;
    char *to = walk->expanded + (size_t)p * panel_bytes(walk->ops);
    for (int64_t b = 0; b < walk->end - walk->first; b++)
        walk->ops->expand[walk->layout](to + (size_t)b * walk->ops->block_bytes,
                                        at + (size_t)b * block_bytes);
    return to;
}

/* The panels from output `out` on that a tile takes, for every row. */
static void multiply_panels(const struct walk *walk, int64_t out)
{
    const struct matmul_args *args = walk->args;
    struct matmul_tile tile = {.y_stride = args->y_stride,
                               .count = (walk->end - walk->first) * MATMUL_PANEL_DEPTH,
                               .accumulate = walk->accumulate};
    for (; tile.panels < walk->ops->panels && out + tile.width < args->out_end; tile.panels++) {
        tile.weights[tile.panels] = expand_panel(walk, tile.panels, out + tile.width);
        tile.width += MATMUL_SPLIT;
    }
    tile.width = matmul_least(tile.width, args->out_end - out);
    for (int64_t r = 0; r < args->rows; r += MATMUL_TILE_ROWS) {
        tile.y = args->y + r * args->y_stride + out;
        tile.rows = (int)matmul_least(MATMUL_TILE_ROWS, args->rows - r);
        tile.x = walk->x + (size_t)r * walk->ops->row_bytes;
        walk->ops->multiply(&tile);
    }
}

void matmul_walk(const struct matmul_args *args, const struct matmul_tile_ops *ops)
{
    assert(args->rows <= KERNELS_ROWS_MAX && args->out_first % MATMUL_SPLIT == 0);
    if (args->rows == 0)
        return;
    int64_t blocks = matmul_panel_blocks(args->weights->in);
    struct walk walk = {.args = args,
                        .ops = ops,
                        .x = args->scratch,
                        .layout = matmul_panel_layout(args->weights->dtype)};
    walk.expanded = walk.x + KERNELS_ROWS_MAX * ops->row_bytes;
    for (; walk.first < blocks; walk.first = walk.end) {
        walk.end = matmul_least(walk.first + ops->kept / MATMUL_PANEL_DEPTH, blocks);
        walk.accumulate = args->accumulate || walk.first > 0;
        copy_rows(&walk);
        for (int64_t o = args->out_first; o < args->out_end; o += ops->panels * MATMUL_SPLIT)
            multiply_panels(&walk, o);
    }
}

size_t matmul_walk_scratch_bytes(const struct matmul_tile_ops *ops)
{
    return KERNELS_ROWS_MAX * ops->row_bytes + (size_t)ops->panels * panel_bytes(ops);
}
