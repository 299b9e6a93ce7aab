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

/* scores [rows, 64] in log2 units, at least at `lanes`. */
static void score(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, int frame, float *scores, uint64_t lanes,
                  const struct attention_tile_ops *ops)
{
    int head_dim = chunk->args->head_dim;
    float *c[ATTENTION_TILE_ROWS];
    for (int r = 0; r < rows->count; r++)
        c[r] = scores + r * PANEL_TOKENS;
    struct attention_product product = {
        .c = c,
        .a = (const char *)chunk->queries[frame] +
             (size_t)rows->first * (size_t)head_dim * ops->operand_bytes,
        .a_stride = head_dim,
        .b = panel->keys,
        .b_stride = PANEL_TOKENS,
        .pairs = head_dim / 2,
        .scale = chunk->args->scale_log2,
        .ahead = rows->ahead,
        .ahead_lines = rows->ahead_lines,
    };
    int first = __builtin_ctzll(lanes) / 16 * 16;
    int end = (79 - __builtin_clzll(lanes)) / 16 * 16;
    ops->multiply(&product, rows->count, first, end);
}

/* acc += the probabilities times the values of the panel's keys among `lanes`; the others' are 0.
 */
static void accumulate(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       const struct attention_rows *rows, uint64_t lanes,
                       const struct attention_tile_ops *ops)
{
    int head_dim = chunk->args->head_dim;
    int first = __builtin_ctzll(lanes) / 2;
    int end = (65 - __builtin_clzll(lanes)) / 2;
    struct attention_product product = {
        .c = rows->acc,
        .a = (const char *)chunk->scores + (size_t)(2 * first) * ops->operand_bytes,
        .a_stride = PANEL_TOKENS * (int)(sizeof(float) / ops->operand_bytes),
        .b = panel->values + (size_t)first * (size_t)head_dim,
        .b_stride = head_dim,
        .pairs = end - first,
        .accumulate = true,
        .ahead = rows->ahead + (size_t)(PANEL_TOKENS / 16 * rows->ahead_lines) * ATTENTION_LINE,
        .ahead_lines = rows->ahead_lines,
    };
    ops->multiply(&product, rows->count, 0, head_dim);
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

/* Folds one panel into the state of a tile of rows. `frame` is that of a tile seen whole, or MIXED.
 */
static void rows_panel(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       struct attention_rows *rows, int frame, const struct attention_tile_ops *ops)
{
    uint64_t lanes = ~UINT64_C(0);
    if (frame == MIXED)
        lanes = score_mixed(chunk, panel, rows, ops);
    else
        score(chunk, panel, rows, frame, chunk->scores, lanes, ops);
    if (lanes == 0)
        return;
    ops->softmax(chunk, rows, frame == MIXED);
    accumulate(chunk, panel, rows, lanes, ops);
}

static void rows_at(const struct attention_chunk *chunk, int first, struct attention_rows *rows)
{
    const struct attention_args *args = chunk->args;
    int left = (int)chunk->tokens * args->group - first;
    rows->first = first;
    rows->count = left < ATTENTION_TILE_ROWS ? left : ATTENTION_TILE_ROWS;
    for (int r = 0; r < rows->count; r++) {
        int64_t token = chunk->first + (first + r) / args->group;
        int head = (first + r) % args->group;
        rows->acc[r] = args->acc + token * args->acc_stride + (int64_t)head * args->head_dim;
        rows->max[r] = args->max + token * args->row_stride + head;
        rows->sum[r] = args->sum + token * args->row_stride + head;
    }
}

/* The tiles of rows fetch the next panel together, spread over their products. */
static void rows_ahead(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       struct attention_rows *rows)
{
    int head_dim = chunk->args->head_dim;
    int tiles =
        ((int)chunk->tokens * chunk->args->group + ATTENTION_TILE_ROWS - 1) / ATTENTION_TILE_ROWS;
    int lines = (int)(attention_head_panel_bytes(DTYPE_BF16, head_dim) / ATTENTION_LINE);
    int share = (lines + tiles - 1) / tiles;
    int columns = (PANEL_TOKENS + head_dim) / 16;
    rows->ahead_lines = (share + columns - 1) / columns;
    rows->ahead =
        panel->next +
        (size_t)(rows->first / ATTENTION_TILE_ROWS * rows->ahead_lines * columns) * ATTENTION_LINE;
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

static void chunk_panel(const struct attention_chunk *chunk, const struct attention_panel *panel,
                        const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    int frame = classify(args, chunk->first, chunk->tokens, panel->span);
    if (frame == NOT_SEEN)
        return;
    int count = (int)chunk->tokens * args->group;
    for (int first = 0; first < count; first += ATTENTION_TILE_ROWS) {
        struct attention_rows rows;
        rows_at(chunk, first, &rows);
        rows_ahead(chunk, panel, &rows);
        int rows_frame = frame;
        if (frame == MIXED) {
            int64_t token = first / args->group;
            int64_t end = (first + rows.count - 1) / args->group + 1;
            rows_frame = classify(args, chunk->first + token, end - token, panel->span);
        }
        if (rows_frame != NOT_SEEN)
            rows_panel(chunk, panel, &rows, rows_frame, ops);
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

void attention_walk(const struct attention_args *args, const struct attention_tile_ops *ops)
{
    assert(args->key_first % PANEL_TOKENS == 0 && args->head_dim % 16 == 0);
    assert(args->head_dim <= ATTENTION_HEAD_DIM_MAX && args->group <= ATTENTION_ROWS);
    int64_t step = attention_query_tokens(args->group);
    for (int64_t first = 0; first < args->tokens; first += step) {
        struct attention_chunk chunk = {.args = args, .first = first, .scores = args->scratch};
        chunk.tokens = args->tokens - first < step ? args->tokens - first : step;
        chunk.other = chunk.scores + ATTENTION_TILE_SCORES;
        copy_queries(&chunk, (char *)(chunk.other + ATTENTION_TILE_SCORES), ops);
        const char *at = args->panels;
        for (int64_t j = args->key_first; j < args->key_end; j += PANEL_TOKENS) {
            int64_t left = args->key_end - j;
            struct attention_panel panel = {
                .keys = (const uint32_t *)at,
                .values = (const uint32_t *)at + (size_t)args->head_dim / 2 * PANEL_TOKENS,
                .next = at + (left > PANEL_TOKENS ? args->panel_stride : 0),
                .span = {j, j + (left < PANEL_TOKENS ? left : PANEL_TOKENS)},
            };
            chunk_panel(&chunk, &panel, ops);
            at += args->panel_stride;
        }
    }
}

size_t attention_walk_scratch_bytes(const struct kernels_limits *limits,
                                    const struct attention_tile_ops *ops)
{
    size_t rows = (size_t)attention_query_tokens(limits->group) * (size_t)limits->group;
    return 2 * ATTENTION_TILE_SCORES * sizeof(float) +
           BANDS_FRAMES_MAX * rows * (size_t)limits->head_dim * ops->operand_bytes;
}
