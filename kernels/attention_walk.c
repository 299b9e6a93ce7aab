/* Owns the walk of attention_walk.h: plain integer decisions, no arithmetic on keys or
 * values. */
#include "kernels/attention_walk.h"

#include <assert.h>
#include <string.h>

/* In place of a query frame. */
enum { NOT_SEEN = -2, MIXED = -1 };

/* The lanes of the panel that each row sees through one query frame; their union. */
static uint64_t frame_lanes(const struct attention_chunk *chunk,
                            const struct attention_panel *panel, const struct attention_rows *rows,
                            int frame, uint64_t lanes[ATTENTION_TILE_ROWS])
{
    const struct attention_args *args = chunk->args;
    int count = (int)(panel->span.end - panel->span.first);
    uint64_t all = 0;
    for (int r = 0; r < rows->count; r++)
        lanes[r] = 0;
    for (int b = 0; b < args->bands->count; b++) {
        const struct band *band = &args->bands->list[b];
        if (band->rule == BAND_MASK || band->key_frame != args->key_frame ||
            band->query_frame != frame)
            continue;
        for (int r = 0; r < rows->count; r++) {
            int64_t token = chunk->first + (rows->first + r) / args->group;
            lanes[r] |=
                bands_lanes(args->bands, band, args->query_first + token, panel->span.first, count);
            all |= lanes[r];
        }
    }
    return all;
}

void attention_walk_scores(struct attention_product *product, const struct attention_chunk *chunk,
                           const struct attention_panel *panel, const struct attention_rows *rows,
                           int frame, size_t operand_bytes)
{
    int head_dim = chunk->args->head_dim;
    *product = (struct attention_product){
        .a = (const char *)chunk->queries[frame] +
             (size_t)rows->first * (size_t)head_dim * operand_bytes,
        .a_stride = head_dim,
        .b = panel->keys,
        .b_stride = PANEL_TOKENS,
        .pairs = head_dim / 2,
        .ahead = rows->ahead,
        .ahead_lines = chunk->ahead_lines,
    };
}

void attention_walk_values(struct attention_product *product, const struct attention_chunk *chunk,
                           const struct attention_panel *panel, const struct attention_rows *rows,
                           uint64_t lanes, size_t operand_bytes)
{
    int head_dim = chunk->args->head_dim;
    int first = __builtin_ctzll(lanes) / 2;
    int end = (65 - __builtin_clzll(lanes)) / 2;
    *product = (struct attention_product){
        .c = rows->acc,
        .a = (const char *)chunk->scores + (size_t)(2 * first) * operand_bytes,
        .a_stride = PANEL_TOKENS * (int)(sizeof(float) / operand_bytes),
        .b = panel->values + (size_t)first * (size_t)head_dim,
        .b_stride = head_dim,
        .pairs = end - first,
        .accumulate = true,
        .ahead = rows->ahead + (size_t)(PANEL_TOKENS / 16 * chunk->ahead_lines) * ATTENTION_LINE,
        .ahead_lines = chunk->ahead_lines,
    };
}

/* scores [rows, 64], at least at `lanes`. */
static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, int frame, float *scores, uint64_t lanes,
                  const struct attention_tile_ops *ops)
{
    struct attention_product product;
    attention_walk_scores(&product, chunk, panel, rows, frame, ops->operand_bytes);
    float *c[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        c[r] = scores + r * PANEL_TOKENS;
    product.c = c;
    int first = __builtin_ctzll(lanes) / 16 * 16;
    int end = (79 - __builtin_clzll(lanes)) / 16 * 16;
    ops->multiply(&product, rows->count, first, end);
}

/* The scores of a tile that is not seen whole through one frame; the lanes that some row sees. */
static uint64_t score_mixed(const struct attention_chunk *chunk,
                            const struct attention_panel *panel, struct attention_rows *rows,
                            const struct attention_tile_ops *ops)
{
    uint64_t any = 0;
    uint64_t lanes[ATTENTION_TILE_ROWS];
    memset(rows->visible, 0, sizeof rows->visible);
    for (int frame = 0; frame < BANDS_FRAMES_MAX; frame++) {
        uint64_t all = chunk->queries[frame] ? frame_lanes(chunk, panel, rows, frame, lanes) : 0;
        if (all == 0)
            continue;
        score(chunk, panel, rows, frame, any ? chunk->other : chunk->scores, all, ops);
        for (int r = 0; r < rows->count; r++) {
            for (int t = r * PANEL_TOKENS; any && t < (r + 1) * PANEL_TOKENS; t++)
                if (lanes[r] >> (t % PANEL_TOKENS) & 1)
                    chunk->scores[t] = chunk->other[t];
            rows->visible[r] |= lanes[r];
        }
        any |= all;
    }
    return any;
}

/* Folds a panel that is not seen whole through one frame into the state of a tile of rows. */
static void rows_mixed(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       struct attention_rows *rows, const struct attention_tile_ops *ops)
{
    uint64_t lanes = score_mixed(chunk, panel, rows, ops);
    if (lanes == 0)
        return;
    ops->softmax(chunk, rows);
    struct attention_product product;
    attention_walk_values(&product, chunk, panel, rows, lanes, ops->operand_bytes);
    ops->multiply(&product, rows->count, 0, chunk->args->head_dim);
}

/* How queries [first, first + tokens) of the call see a panel: its frame, MIXED or NOT_SEEN. */
static int classify(const struct attention_args *args, int64_t first, int64_t tokens,
                    struct span keys)
{
    struct span queries = {args->query_first + first, args->query_first + first + tokens};
    int frame = MIXED;
    enum bands_tile class = bands_classify(args->bands, queries, keys, args->key_frame, &frame);
    if (class == BANDS_SKIP)
        return NOT_SEEN;
    return class == BANDS_FULL && keys.end - keys.first == PANEL_TOKENS ? frame : MIXED;
}

/* The tiles of rows fetch the next panel together, spread over their products. */
static void chunk_panel(const struct attention_chunk *chunk, const struct attention_panel *panel,
                        const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    int frame = classify(args, chunk->first, chunk->tokens, panel->span);
    if (frame == NOT_SEEN)
        return;
    const char *ahead = panel->next;
    int columns = (PANEL_TOKENS + args->head_dim) / 16;
    for (int first = 0; first < chunk->rows; first += ATTENTION_TILE_ROWS) {
        int left = chunk->rows - first;
        struct attention_rows rows = {
            .first = first,
            .count = left < ATTENTION_TILE_ROWS ? left : ATTENTION_TILE_ROWS,
            .ahead = ahead,
            .acc = chunk->acc + first,
            .max = (float *)chunk->max + first,
            .sum = (float *)chunk->sum + first,
        };
        ahead += (size_t)(chunk->ahead_lines * columns) * ATTENTION_LINE;
        int rows_frame = frame;
        if (frame == MIXED) {
            int64_t token = first / args->group;
            int64_t end = (first + rows.count - 1) / args->group + 1;
            rows_frame = classify(args, chunk->first + token, end - token, panel->span);
        }
        if (rows_frame == MIXED)
            rows_mixed(chunk, panel, &rows, ops);
        else if (rows_frame != NOT_SEEN)
            ops->whole(chunk, panel, &rows, rows_frame);
    }
}

/* The chunk's queries in every frame that a visible band reads. */
static void copy_queries(struct attention_chunk *chunk, char *scratch,
                         const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    int64_t count = (int64_t)args->group * args->head_dim;
    for (int b = 0; b < args->bands->count; b++) {
        const struct band *band = &args->bands->list[b];
        if (band->rule == BAND_MASK || band->key_frame != args->key_frame ||
            chunk->queries[band->query_frame])
            continue;
        chunk->queries[band->query_frame] = scratch;
        const uint16_t *in = (const uint16_t *)args->queries +
                             band->query_frame * args->frame_stride +
                             chunk->first * args->query_stride;
        for (int64_t t = 0; t < chunk->tokens; t++) {
            ops->copy_queries(scratch, in + t * args->query_stride, count, args->scale_log2);
            scratch += (size_t)count * ops->operand_bytes;
        }
    }
}

/* Where the state of each of the chunk's rows lies in the call's. */
static void place_state(struct attention_chunk *chunk)
{
    const struct attention_args *args = chunk->args;
    chunk->rows = (int)chunk->tokens * args->group;
    int row = 0;
    for (int64_t t = chunk->first; t < chunk->first + chunk->tokens; t++)
        for (int h = 0; h < args->group; h++)
            chunk->acc[row++] = args->acc + t * args->acc_stride + (int64_t)h * args->head_dim;
    for (int r = 0; r < ATTENTION_TILE_ROWS; r++)
        chunk->acc[row + r] = chunk->acc[row - 1];
    memset(chunk->max + row, 0, 8 * sizeof(float));
    memset(chunk->sum + row, 0, 8 * sizeof(float));
    int lines = (int)(attention_head_panel_bytes(DTYPE_BF16, args->head_dim) / ATTENTION_LINE);
    int tiles = (chunk->rows + ATTENTION_TILE_ROWS - 1) / ATTENTION_TILE_ROWS;
    int columns = (PANEL_TOKENS + args->head_dim) / 16;
    chunk->ahead_lines = (lines + tiles * columns - 1) / (tiles * columns);
}

static void load_state(struct attention_chunk *chunk)
{
    const struct attention_args *args = chunk->args;
    size_t bytes = (size_t)args->group * sizeof(float);
    for (int64_t t = 0; t < chunk->tokens; t++) {
        memcpy(chunk->max + t * args->group, args->max + (chunk->first + t) * args->row_stride,
               bytes);
        memcpy(chunk->sum + t * args->group, args->sum + (chunk->first + t) * args->row_stride,
               bytes);
    }
}

static void store_state(const struct attention_chunk *chunk)
{
    const struct attention_args *args = chunk->args;
    size_t bytes = (size_t)args->group * sizeof(float);
    for (int64_t t = 0; t < chunk->tokens; t++) {
        memcpy(args->max + (chunk->first + t) * args->row_stride, chunk->max + t * args->group,
               bytes);
        memcpy(args->sum + (chunk->first + t) * args->row_stride, chunk->sum + t * args->group,
               bytes);
    }
}

static void chunk_panels(const struct attention_chunk *chunk, const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    const char *at = args->panels;
    for (int64_t j = args->key_first; j < args->key_end; j += PANEL_TOKENS) {
        int64_t left = args->key_end - j;
        struct attention_panel panel = {
            .keys = (const uint32_t *)at,
            .values = (const uint32_t *)at + (size_t)args->head_dim / 2 * PANEL_TOKENS,
            .next = at + (left > PANEL_TOKENS ? args->panel_stride : 0),
            .span = {j, j + (left < PANEL_TOKENS ? left : PANEL_TOKENS)},
        };
        chunk_panel(chunk, &panel, ops);
        at += args->panel_stride;
    }
}

void attention_walk(const struct attention_args *args, const struct attention_tile_ops *ops)
{
    assert(args->key_first % PANEL_TOKENS == 0 && args->head_dim % 16 == 0);
    assert(args->head_dim <= ATTENTION_HEAD_DIM_MAX && args->group <= ATTENTION_ROWS);
    int64_t step = attention_query_tokens(args->group);
    for (int64_t first = 0; first < args->tokens; first += step) {
        struct attention_chunk chunk;
        chunk.args = args;
        chunk.first = first;
        chunk.tokens = args->tokens - first < step ? args->tokens - first : step;
        chunk.scores = args->scratch;
        chunk.other = chunk.scores + ATTENTION_TILE_SCORES;
        memset(chunk.queries, 0, sizeof chunk.queries);
        place_state(&chunk);
        load_state(&chunk);
        copy_queries(&chunk, (char *)(chunk.other + ATTENTION_TILE_SCORES), ops);
        chunk_panels(&chunk, ops);
        store_state(&chunk);
    }
}

size_t attention_walk_scratch_bytes(const struct kernels_limits *limits,
                                    const struct attention_tile_ops *ops)
{
    size_t rows = (size_t)attention_query_tokens(limits->group) * (size_t)limits->group;
    return 2 * ATTENTION_TILE_SCORES * sizeof(float) +
           BANDS_FRAMES_MAX * rows * (size_t)limits->head_dim * ops->operand_bytes;
}
