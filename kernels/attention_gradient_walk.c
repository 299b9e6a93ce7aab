/* Owns how a tile of training's attention is cut. A span at a time: its keys are packed once, and
 * met by its rows in blocks of ATTENTION_GRADIENT_SIDE. Within a block each product goes through
 * its panels of columns outside and its strips of rows inside, so that a panel stays in the first
 * cache.
 *
 * Queries are packed times scale_log2, and so are the keys that dq is made of: with ds times ln 2,
 * dq and dk come out scaled.
 */
#include "kernels/attention_gradient_walk.h"

#include <string.h>

enum { SIDE = ATTENTION_GRADIENT_SIDE, PANEL = ATTENTION_GRADIENT_PANEL };

/* The scratch, and the span that is being computed. */
struct walk {
    const struct attention_gradient_tile *tile;
    const struct attention_gradient_ops *ops;
    const struct attention_spans_regime *span;
    float *q, *dout;    /* a block's rows as rows: [head_dim / 16][SIDE][16] */
    float *key_column;  /* keys as columns: [SIDE / 16][head_dim][16] */
    float *key_row;     /* keys as rows */
    float *value;       /* values: as rows forward, as columns backward */
    float *scores, *dp; /* [SIDE][SIDE] */
    int64_t row_first,
        row_end;            /* rows of the tile, (token, head), that see something, and between */
    int key_first, key_end; /* the keys that they see, and between */
};

/* Up to SIDE rows from `row` of the tile on. */
struct block {
    int rows;
    int token[SIDE], head[SIDE];
    int first[SIDE], end[SIDE]; /* the keys that each row sees */
    bool whole;                 /* all rows see all keys of the span */
    /* By strip: the columns that some row of it sees, and between; empty where none does. */
    struct attention_gradient_columns strips[SIDE];
};

static struct walk walk_begin(const struct attention_gradient_tile *tile,
                              const struct attention_gradient_ops *ops)
{
    const size_t operand = (size_t)tile->head_dim * SIDE;
    float *at = tile->scratch;
    return (struct walk){
        .tile = tile,
        .ops = ops,
        .q = at,
        .dout = at + operand,
        .key_column = at + 2 * operand,
        .key_row = at + 3 * operand,
        .value = at + 4 * operand,
        .scores = at + 5 * operand,
        .dp = at + 5 * operand + (size_t)SIDE * SIDE,
    };
}

static void key_rows(const float *rows[SIDE], const float *first, int64_t stride, int64_t count)
{
    for (int64_t j = 0; j < count; j++)
        rows[j] = first + j * stride;
}

/* Finds what the span reaches, and packs its keys. */
static void enter_span(struct walk *walk, const struct attention_spans_regime *span)
{
    const struct attention_gradient_tile *tile = walk->tile;
    walk->span = span;
    int64_t token_first = tile->tokens, token_end = 0;
    walk->key_first = SIDE;
    walk->key_end = 0;
    for (int64_t t = 0; t < tile->tokens; t++) {
        if (span->first[t] >= span->end[t])
            continue;
        token_first = t < token_first ? t : token_first;
        token_end = t + 1;
        walk->key_first = span->first[t] < walk->key_first ? span->first[t] : walk->key_first;
        walk->key_end = span->end[t] > walk->key_end ? span->end[t] : walk->key_end;
    }
    walk->row_first = token_first * tile->group;
    walk->row_end = token_end * tile->group;
    const float *rows[SIDE];
    key_rows(rows, tile->k + span->key_frame * tile->k_frame_stride, tile->k_stride, tile->keys);
    walk->ops->pack_columns(walk->key_column, rows, (int)tile->keys, tile->head_dim);
}

/* Keys in whole panels. */
static int packed_keys(const struct walk *walk)
{
    return (int)(walk->tile->keys + PANEL - 1) / PANEL * PANEL;
}

static int strip_rows(const struct walk *walk, const struct block *block, int strip)
{
    const int left = block->rows - strip;
    return left < walk->ops->strip_rows ? left : walk->ops->strip_rows;
}

/* The columns that the strip's register tiles fill. */
static struct attention_gradient_columns
strip_columns(const struct walk *walk, const struct block *block, int strip, int rows)
{
    const int step = walk->ops->tile_panels * PANEL, last = packed_keys(walk);
    int first = SIDE, end = 0;
    for (int r = strip; r < strip + rows; r++) {
        if (block->first[r] >= block->end[r])
            continue;
        first = block->first[r] < first ? block->first[r] : first;
        end = block->end[r] > end ? block->end[r] : end;
    }
    if (first >= end)
        return (struct attention_gradient_columns){0};
    const int to = (end + step - 1) / step * step;
    return (struct attention_gradient_columns){
        .from = first / step * step,
        .to = to < last ? to : last,
        .first = first,
        .end = end,
    };
}

/* Where the block's row r lies in an array [tokens, group, head_dim]. */
static int64_t row_offset(const struct walk *walk, const struct block *block, int r, int64_t stride)
{
    return block->token[r] * stride + (int64_t)block->head[r] * walk->tile->head_dim;
}

static void enter_block(const struct walk *walk, struct block *block, int64_t row)
{
    const struct attention_gradient_tile *tile = walk->tile;
    const struct attention_spans_regime *span = walk->span;
    const float *q = tile->q + span->query_frame * tile->q_frame_stride;
    const float *rows[SIDE];
    block->rows = walk->row_end - row < SIDE ? (int)(walk->row_end - row) : SIDE;
    block->whole = true;
    for (int r = 0; r < block->rows; r++) {
        block->token[r] = (int)((row + r) / tile->group);
        block->head[r] = (int)((row + r) % tile->group);
        block->first[r] = span->first[block->token[r]];
        block->end[r] = span->end[block->token[r]];
        block->whole =
            block->whole && block->first[r] == walk->key_first && block->end[r] == walk->key_end;
        rows[r] = q + row_offset(walk, block, r, tile->q_stride);
    }
    for (int strip = 0; strip < block->rows; strip += walk->ops->strip_rows)
        block->strips[strip] = strip_columns(walk, block, strip, strip_rows(walk, block, strip));
    walk->ops->pack_rows(walk->q, rows, block->rows, tile->head_dim, tile->scale_log2);
}

/* scores[r][j] = rows of `left`, packed as rows, times columns of `right`, where a strip sees some.
 * */
static void score(const struct walk *walk, const struct block *block, float *scores,
                  const float *left, const float *right)
{
    const int width = walk->tile->head_dim, step = walk->ops->tile_panels * PANEL;
    struct attention_gradient_product product = {
        .a_row = PANEL,
        .a_column = 1,
        .a_block = SIDE * PANEL,
        .a_depth = PANEL,
        .b_panel = (int64_t)width * PANEL,
        .depth = width,
    };
    const int last = packed_keys(walk);
    for (int column = walk->key_first / step * step; column < walk->key_end; column += step) {
        const int panels = (last - column < step ? last - column : step) / PANEL;
        product.b = right + (int64_t)column * width;
        for (int strip = 0; strip < block->rows; strip += walk->ops->strip_rows) {
            const int rows = strip_rows(walk, block, strip);
            const struct attention_gradient_columns columns = block->strips[strip];
            if (columns.to <= column || columns.from >= column + step)
                continue;
            product.a = left + strip * PANEL;
            for (int r = 0; r < rows; r++)
                product.c[r] = scores + (int64_t)(strip + r) * SIDE + column;
            walk->ops->multiply(&product, rows, panels);
        }
    }
}

/* out[r] += probabilities (or their gradients) of row r times `right`, keys packed as rows. */
static void gather(const struct walk *walk, const struct block *block, const float *scores,
                   const float *right, float *out, int64_t out_stride)
{
    const int width = walk->tile->head_dim, step = walk->ops->tile_panels * PANEL;
    struct attention_gradient_product product = {
        .a_row = SIDE,
        .a_column = 1,
        .a_depth = SIDE,
        .b_panel = SIDE * PANEL,
        .accumulate = true,
    };
    float *at[SIDE];
    for (int r = 0; r < block->rows; r++)
        at[r] = out + row_offset(walk, block, r, out_stride);
    for (int column = 0; column < width; column += step) {
        const int panels = (width - column < step ? width - column : step) / PANEL;
        for (int strip = 0; strip < block->rows; strip += walk->ops->strip_rows) {
            const int rows = strip_rows(walk, block, strip);
            const struct attention_gradient_columns columns = block->strips[strip];
            product.depth = columns.end - columns.first;
            if (product.depth == 0)
                continue;
            product.a = scores + (int64_t)strip * SIDE + columns.first;
            product.b = right + (int64_t)column * SIDE + (int64_t)columns.first * PANEL;
            for (int r = 0; r < rows; r++)
                product.c[r] = at[strip + r] + column;
            walk->ops->multiply(&product, rows, panels);
        }
    }
}

/* out[j] += Sum over the block's rows of scores[r][j] times `right`, rows packed as rows. Both ends
 * of what rows see grow with the row, so the rows that meet a strip of keys are looked for onwards.
 * */
static void scatter(const struct walk *walk, const struct block *block, const float *scores,
                    const float *right, float *out, int64_t out_stride)
{
    const int width = walk->tile->head_dim, step = walk->ops->tile_panels * PANEL;
    struct attention_gradient_product product = {
        .a_row = 1,
        .a_column = SIDE,
        .a_depth = SIDE,
        .b_panel = SIDE * PANEL,
        .accumulate = true,
    };
    for (int column = 0; column < width; column += step) {
        const int panels = (width - column < step ? width - column : step) / PANEL;
        int first = 0, end = 0;
        for (int key = walk->key_first; key < walk->key_end; key += walk->ops->strip_rows) {
            const int left = walk->key_end - key;
            const int keys = left < walk->ops->strip_rows ? left : walk->ops->strip_rows;
            while (first < block->rows && block->end[first] <= key)
                first++;
            while (end < block->rows && block->first[end] < key + keys)
                end++;
            product.depth = end - first;
            if (product.depth <= 0)
                continue;
            product.a = scores + (int64_t)first * SIDE + key;
            product.b = right + (int64_t)column * SIDE + (int64_t)first * PANEL;
            for (int j = 0; j < keys; j++)
                product.c[j] = out + (int64_t)(key + j) * out_stride + column;
            walk->ops->multiply(&product, keys, panels);
        }
    }
}

static void forward_block(const struct walk *walk, const struct block *block,
                          const struct attention_gradient_state *state)
{
    const struct attention_gradient_tile *tile = walk->tile;
    score(walk, block, walk->scores, walk->q, walk->key_column);
    for (int strip = 0; strip < block->rows; strip += walk->ops->strip_rows) {
        const int rows = strip_rows(walk, block, strip);
        struct attention_gradient_columns columns = block->strips[strip];
        for (int r = strip; r < strip + rows; r++) {
            const int64_t at = block->token[r] * state->row_stride + block->head[r];
            columns.first = block->first[r];
            columns.end = block->end[r];
            walk->ops->softmax(
                walk->scores + (int64_t)r * SIDE, columns, state->max + at, state->sum + at,
                state->acc + row_offset(walk, block, r, state->acc_stride), tile->head_dim);
        }
    }
    gather(walk, block, walk->scores, walk->value, state->acc, state->acc_stride);
}

void attention_gradient_walk_forward(const struct attention_gradient_tile *tile,
                                     const struct attention_gradient_state *state,
                                     const struct attention_gradient_ops *ops)
{
    struct walk walk = walk_begin(tile, ops);
    const float *rows[SIDE];
    key_rows(rows, tile->v, tile->v_stride, tile->keys);
    ops->pack_rows(walk.value, rows, (int)tile->keys, tile->head_dim, 1);
    for (int32_t s = 0; s < tile->spans->count; s++) {
        enter_span(&walk, &tile->spans->list[s]);
        for (int64_t row = walk.row_first; row < walk.row_end; row += SIDE) {
            struct block block;
            enter_block(&walk, &block, row);
            forward_block(&walk, &block, state);
        }
    }
}

/* Scores to probabilities, and their gradients to the scores'. Where rows see unequal ranges, what
 * no strip computed is 0 to the products over rows. */
static void differentiate(const struct walk *walk, const struct block *block,
                          const struct attention_gradient_flow *flow)
{
    for (int strip = 0; strip < block->rows; strip += walk->ops->strip_rows) {
        const int rows = strip_rows(walk, block, strip);
        struct attention_gradient_columns columns = block->strips[strip];
        for (int r = strip; r < strip + rows; r++) {
            const int64_t at = block->token[r] * flow->row_stride + block->head[r];
            columns.first = block->first[r];
            columns.end = block->end[r];
            walk->ops->differentiate(walk->scores + (int64_t)r * SIDE, walk->dp + (int64_t)r * SIDE,
                                     columns, flow->logsumexp[at], flow->dot[at]);
        }
    }
}

static void backward_block(const struct walk *walk, const struct block *block,
                           const struct attention_gradient_flow *flow)
{
    const struct attention_gradient_tile *tile = walk->tile;
    const float *rows[SIDE];
    for (int r = 0; r < block->rows; r++)
        rows[r] = flow->dout + row_offset(walk, block, r, flow->dout_stride);
    walk->ops->pack_rows(walk->dout, rows, block->rows, tile->head_dim, 1);
    if (!block->whole) {
        memset(walk->scores, 0, (size_t)SIDE * SIDE * sizeof(float));
        memset(walk->dp, 0, (size_t)SIDE * SIDE * sizeof(float));
    }
    score(walk, block, walk->scores, walk->q, walk->key_column);
    score(walk, block, walk->dp, walk->dout, walk->value);
    differentiate(walk, block, flow);
    gather(walk, block, walk->dp, walk->key_row,
           flow->dq + walk->span->query_frame * tile->q_frame_stride, tile->q_stride);
    scatter(walk, block, walk->dp, walk->q, flow->dk + walk->span->key_frame * tile->k_frame_stride,
            tile->k_stride);
    scatter(walk, block, walk->scores, walk->dout, flow->dv, tile->v_stride);
}

void attention_gradient_walk_backward(const struct attention_gradient_tile *tile,
                                      const struct attention_gradient_flow *flow,
                                      const struct attention_gradient_ops *ops)
{
    struct walk walk = walk_begin(tile, ops);
    const float *rows[SIDE];
    key_rows(rows, tile->v, tile->v_stride, tile->keys);
    ops->pack_columns(walk.value, rows, (int)tile->keys, tile->head_dim);
    for (int32_t s = 0; s < tile->spans->count; s++) {
        enter_span(&walk, &tile->spans->list[s]);
        key_rows(rows, tile->k + walk.span->key_frame * tile->k_frame_stride, tile->k_stride,
                 tile->keys);
        ops->pack_rows(walk.key_row, rows, (int)tile->keys, tile->head_dim, tile->scale_log2);
        for (int64_t row = walk.row_first; row < walk.row_end; row += SIDE) {
            struct block block;
            enter_block(&walk, &block, row);
            backward_block(&walk, &block, flow);
        }
    }
}
