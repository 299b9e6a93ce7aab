/* Owns the walk of attention_walk.h: plain integer decisions, no arithmetic on keys or
 * values. */
#include "kernels/attention_walk.h"

#include <assert.h>
#include <string.h>

#include "kernels/attention_cap_avx2.h"

/* The lanes of the panel that each row sees through one view; their union. */
static uint64_t view_lanes(const struct attention_chunk *chunk, const struct attention_panel *panel,
                           const struct attention_rows *rows, struct attention_view view,
                           uint64_t lanes[ATTENTION_TILE_ROWS])
{
    const struct attention_args *args = chunk->args;
    int count = (int)(panel->span.end - panel->span.first);
    uint64_t all = 0;
    for (int r = 0; r < rows->count; r++)
        lanes[r] = 0;
    for (int g = 0; g < args->regimes->count; g++) {
        const struct regime *regime = &args->regimes->list[g];
        if ((enum bands_store)regime->store != args->store ||
            regime->query_frame != view.query_frame || regime->key_frame != view.key_frame)
            continue;
        for (int r = 0; r < rows->count; r++) {
            int64_t token = chunk->first + (rows->row_in_head + r) / args->group;
            lanes[r] |= regime_lanes(regime, args->query_first + token, panel->span.first, count);
            all |= lanes[r];
        }
    }
    return all;
}

/* The scores of a tile that is not seen whole through one view; the lanes that some row sees. */
static uint64_t score_mixed(const struct attention_chunk *chunk,
                            const struct attention_panel *panel, struct attention_rows *rows,
                            const struct attention_tile_ops *ops)
{
    uint64_t any = 0;
    uint64_t lanes[ATTENTION_TILE_ROWS];
    memset(rows->visible, 0, sizeof rows->visible);
    for (int v = 0; v < chunk->view_count; v++) {
        uint64_t all = view_lanes(chunk, panel, rows, chunk->views[v], lanes);
        if (all == 0)
            continue;
        ops->score(chunk, panel, rows, chunk->views[v], any ? chunk->other : chunk->scores,
                   __builtin_ctzll(all) / 16 * 16, (79 - __builtin_clzll(all)) / 16 * 16);
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

/* Caps the scores of a tile as they lie; those that no row sees are not looked at again. */
static void cap_scores(const struct attention_chunk *chunk, const struct attention_rows *rows,
                       const struct attention_tile_ops *ops)
{
    const float cap = chunk->args->cap_log2;
    const float scale = ops->scales_late ? chunk->args->scale_log2 : 1;
    attention_cap_avx2(chunk->scores, rows->count * PANEL_TOKENS, scale / cap, cap / scale);
}

/* Folds a panel that a tile of rows sees whole, where scores are capped. */
static void rows_capped(const struct attention_chunk *chunk, const struct attention_panel *panel,
                        struct attention_rows *rows, struct attention_view view,
                        const struct attention_tile_ops *ops)
{
    memset(rows->visible, 0, sizeof rows->visible);
    for (int r = 0; r < rows->count; r++)
        rows->visible[r] = ~UINT64_C(0);
    ops->score(chunk, panel, rows, view, chunk->scores, 0, PANEL_TOKENS);
    cap_scores(chunk, rows, ops);
    ops->fold(chunk, panel, rows, ~UINT64_C(0));
}

/* Folds a panel that is not seen whole through one view into the state of a tile of rows. */
static void rows_mixed(const struct attention_chunk *chunk, const struct attention_panel *panel,
                       struct attention_rows *rows, const struct attention_tile_ops *ops)
{
    uint64_t lanes = score_mixed(chunk, panel, rows, ops);
    if (lanes == 0)
        return;
    if (chunk->args->cap_log2 > 0)
        cap_scores(chunk, rows, ops);
    ops->fold(chunk, panel, rows, lanes);
}

/* How queries [first, first + tokens) of the call see a panel; *view is set where they see it
 * whole. */
static enum regimes_tile classify(const struct attention_args *args, int64_t first, int64_t tokens,
                                  struct span keys, struct attention_view *view)
{
    struct span queries = {args->query_first + first, args->query_first + first + tokens};
    const struct regime *regime = NULL;
    enum regimes_tile tile = regimes_classify(args->regimes, queries, keys, args->store, &regime);
    if (tile != REGIMES_WHOLE)
        return tile;
    *view = (struct attention_view){regime->query_frame, regime->key_frame};
    return keys.end - keys.first == PANEL_TOKENS ? REGIMES_WHOLE : REGIMES_MIXED;
}

/* Folds one head's panel into the head's rows, which see it as `tile` says. Their tiles fetch what
 * is read next together, spread over their products. */
static void head_panel(struct attention_chunk *chunk, const struct attention_panel *panel, int head,
                       enum regimes_tile tile, struct attention_view view,
                       const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    const char *ahead_keys = panel->next_keys;
    const char *ahead_values = panel->next_values;
    for (int row = 0; row < chunk->head_rows; row += ATTENTION_TILE_ROWS) {
        int left = chunk->head_rows - row;
        int first = head * chunk->head_rows + row;
        struct attention_rows rows = {
            .first = first,
            .row_in_head = row,
            .count = left < ATTENTION_TILE_ROWS ? left : ATTENTION_TILE_ROWS,
            .ahead_keys = ahead_keys,
            .ahead_values = ahead_values,
            .acc = chunk->acc + first,
            .max = chunk->max + first,
            .sum = chunk->sum + first,
        };
        ahead_keys += (size_t)(chunk->ahead_keys * PANEL_TOKENS / 16) * ATTENTION_LINE;
        ahead_values += (size_t)(chunk->ahead_values * args->head_dim / 16) * ATTENTION_LINE;
        enum regimes_tile seen = tile;
        if (tile == REGIMES_MIXED) {
            int64_t token = row / args->group;
            int64_t end = (row + rows.count - 1) / args->group + 1;
            seen = classify(args, chunk->first + token, end - token, panel->span, &view);
        }
        if (seen == REGIMES_MIXED)
            rows_mixed(chunk, panel, &rows, ops);
        else if (seen == REGIMES_WHOLE && args->cap_log2 > 0)
            rows_capped(chunk, panel, &rows, view, ops);
        else if (seen == REGIMES_WHOLE)
            ops->whole(chunk, panel, &rows, view);
    }
}

/* The views of the call's regimes. */
static void list_views(struct attention_chunk *chunk)
{
    const struct attention_args *args = chunk->args;
    chunk->view_count = 0;
    for (int r = 0; r < args->regimes->count; r++) {
        const struct regime *regime = &args->regimes->list[r];
        if ((enum bands_store)regime->store != args->store)
            continue;
        int v = 0;
        while (v < chunk->view_count && (chunk->views[v].query_frame != regime->query_frame ||
                                         chunk->views[v].key_frame != regime->key_frame))
            v++;
        chunk->views[v] = (struct attention_view){regime->query_frame, regime->key_frame};
        if (v == chunk->view_count)
            chunk->view_count++;
    }
}

/* The chunk's queries in every frame of its views. */
static void copy_queries(struct attention_chunk *chunk, char *scratch,
                         const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    const int64_t count = (int64_t)args->group * args->head_dim;
    const size_t element = ops->operand == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);
    for (int v = 0; v < chunk->view_count; v++) {
        int frame = chunk->views[v].query_frame;
        if (chunk->queries[frame])
            continue;
        chunk->queries[frame] = scratch;
        const char *in = (const char *)args->queries +
                         (size_t)(frame * args->frame_stride + chunk->first * args->query_stride +
                                  chunk->head_first * count) *
                             element;
        for (int h = 0; h < chunk->heads; h++)
            for (int64_t t = 0; t < chunk->tokens; t++) {
                ops->copy_queries(scratch,
                                  in + (size_t)(t * args->query_stride + h * count) * element,
                                  args->group, args->head_dim, args->scale_log2);
                scratch += (size_t)args->group * chunk->row_bytes;
            }
    }
}

/* Where the first state of a token's group lies in the call's. */
static int64_t state_at(const struct attention_chunk *chunk, int head, int64_t token)
{
    const struct attention_args *args = chunk->args;
    return (chunk->first + token) * args->row_stride +
           (int64_t)(chunk->head_first + head) * args->group;
}

static void load_state(struct attention_chunk *chunk)
{
    const struct attention_args *args = chunk->args;
    int row = 0;
    for (int h = 0; h < chunk->heads; h++)
        for (int64_t t = 0; t < chunk->tokens; t++) {
            int64_t head = (int64_t)(chunk->head_first + h) * args->group;
            float *acc = args->acc + (chunk->first + t) * args->acc_stride;
            for (int g = 0; g < args->group; g++, row++) {
                chunk->max[row] = args->max[state_at(chunk, h, t) + g];
                chunk->sum[row] = args->sum[state_at(chunk, h, t) + g];
                chunk->acc[row] = acc + (head + g) * args->head_dim;
            }
        }
    memset(chunk->max + row, 0, 8 * sizeof(float));
    memset(chunk->sum + row, 0, 8 * sizeof(float));
}

static void store_state(const struct attention_chunk *chunk)
{
    const struct attention_args *args = chunk->args;
    int row = 0;
    for (int h = 0; h < chunk->heads; h++)
        for (int64_t t = 0; t < chunk->tokens; t++)
            for (int g = 0; g < args->group; g++, row++) {
                args->max[state_at(chunk, h, t) + g] = chunk->max[row];
                args->sum[state_at(chunk, h, t) + g] = chunk->sum[row];
            }
}

/* Folds one panel into the chunk's heads, in their order. */
static void chunk_panel(struct attention_chunk *chunk, const char *records, int64_t key,
                        const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    int64_t left = args->key_end - key;
    const struct span span = {key, key + (left < PANEL_TOKENS ? left : PANEL_TOKENS)};
    struct attention_view view = chunk->views[0]; /* of the keys to fetch, where there is none */
    enum regimes_tile tile = classify(args, chunk->first, chunk->tokens, span, &view);
    if (tile == REGIMES_SKIP)
        return;
    const size_t head_bytes = attention_head_bytes(ops->cache, args->head_dim);
    const size_t values = args->panel_stride - args->record_stride;
    const size_t keys = (size_t)view.key_frame * args->record_stride;
    const char *next_panel = records + (left > PANEL_TOKENS ? args->panel_stride : 0);
    for (int h = 0; h < chunk->heads; h++) {
        const char *at = records + (size_t)(chunk->head_first + h) * head_bytes;
        const char *next = h + 1 < chunk->heads
                               ? at + head_bytes
                               : next_panel + (size_t)chunk->head_first * head_bytes;
        unsigned taken = 0;
        struct attention_panel panel = {
            .records = at,
            .values = at + values,
            .next_keys = next + keys,
            .next_values = next + values,
            .span = span,
            .made = chunk->made,
            .taken = &taken,
        };
        head_panel(chunk, &panel, h, tile, view, ops);
    }
}

static size_t made_bytes(int head_dim, const struct attention_tile_ops *ops)
{
    return ops->panel_bytes ? ops->panel_bytes(head_dim) : 0;
}

static int share(int lines, int parts)
{
    return (lines + parts - 1) / parts;
}

static void run_chunk(struct attention_chunk *chunk, const struct attention_tile_ops *ops)
{
    const struct attention_args *args = chunk->args;
    chunk->head_rows = (int)chunk->tokens * args->group;
    chunk->scores = args->scratch;
    chunk->other = chunk->scores + ATTENTION_TILE_SCORES;
    chunk->row_bytes = ops->row_bytes(args->head_dim);
    memset(chunk->queries, 0, sizeof chunk->queries);
    int lines = (int)(attention_head_bytes(ops->cache, args->head_dim) / ATTENTION_LINE);
    int tiles = (chunk->head_rows + ATTENTION_TILE_ROWS - 1) / ATTENTION_TILE_ROWS;
    /* K and V of a panel lie apart: left to itself, the hardware would begin anew at each. */
    chunk->ahead_keys = share(lines, tiles * (PANEL_TOKENS / 16));
    chunk->ahead_values = share(lines, tiles * (args->head_dim / 16));
    chunk->made = chunk->other + ATTENTION_TILE_SCORES;
    load_state(chunk);
    copy_queries(chunk, (char *)chunk->made + made_bytes(args->head_dim, ops), ops);
    const char *records = args->panels;
    for (int64_t j = args->key_first; j < args->key_end && chunk->view_count > 0;
         j += PANEL_TOKENS) {
        chunk_panel(chunk, records, j, ops);
        records += args->panel_stride;
    }
    store_state(chunk);
}

void attention_walk(const struct attention_args *args, const struct attention_tile_ops *ops)
{
    assert(args->key_first % PANEL_TOKENS == 0 && args->head_dim % 16 == 0);
    assert(args->head_dim <= ATTENTION_HEAD_DIM_MAX && args->group <= ATTENTION_GROUP_MAX);
    assert(args->kv_heads > 0);
    int groups = (int)attention_query_tokens(args->group); /* of one token and head */
    int heads = args->kv_heads < groups ? args->kv_heads : groups;
    int64_t tokens = groups / heads;
    struct attention_chunk chunk = {.args = args};
    list_views(&chunk);
    for (chunk.head_first = 0; chunk.head_first < args->kv_heads; chunk.head_first += heads) {
        int heads_left = args->kv_heads - chunk.head_first;
        chunk.heads = heads_left < heads ? heads_left : heads;
        for (chunk.first = 0; chunk.first < args->tokens; chunk.first += tokens) {
            int64_t tokens_left = args->tokens - chunk.first;
            chunk.tokens = tokens_left < tokens ? tokens_left : tokens;
            run_chunk(&chunk, ops);
        }
    }
}

size_t attention_walk_scratch_bytes(const struct kernels_limits *limits,
                                    const struct attention_tile_ops *ops)
{
    size_t rows = (size_t)attention_query_tokens(limits->group) * (size_t)limits->group;
    return 2 * ATTENTION_TILE_SCORES * sizeof(float) + made_bytes(limits->head_dim, ops) +
           BANDS_FRAMES_MAX * rows * ops->row_bytes(limits->head_dim);
}
