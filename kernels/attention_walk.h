/* What the fast variants of attention share: the walk of a call's chunks, panels and tiles of rows,
 * with every decision that the regimes ask for. A variant adds the arithmetic of one tile.
 *
 * For each chunk of ATTENTION_ROWS rows and each panel that it sees, ascending, for each KV head
 * and tile of its rows: score -> softmax -> accumulate. A tile that sees its whole panel through
 * one view, a query frame and a key frame, runs without masks; any other scores through each view
 * in turn and blends before the maximum.
 */
#pragma once

#include "kernels/kernels.h"

enum {
    ATTENTION_TILE_ROWS = 6,
    ATTENTION_TILE_SCORES = ATTENTION_TILE_ROWS * PANEL_TOKENS,
    ATTENTION_LINE = 64, /* bytes that are prefetched at once */
};

/* Calls with the count of a tile's rows as a constant. */
#define EACH_COUNT_OF_ROWS(count, call)                                                            \
    switch (count) {                                                                               \
    case 1:                                                                                        \
        call(1);                                                                                   \
        break;                                                                                     \
    case 2:                                                                                        \
        call(2);                                                                                   \
        break;                                                                                     \
    case 3:                                                                                        \
        call(3);                                                                                   \
        break;                                                                                     \
    case 4:                                                                                        \
        call(4);                                                                                   \
        break;                                                                                     \
    case 5:                                                                                        \
        call(5);                                                                                   \
        break;                                                                                     \
    default:                                                                                       \
        call(6);                                                                                   \
        break;                                                                                     \
    }

/* Which copy of the queries meets which copy of the keys. */
struct attention_view {
    int query_frame, key_frame;
};

/* One chunk of a call: some of its tokens, and some of its KV heads with their groups. Its rows are
 * [heads, tokens, group]. Their maxima and sums are kept dense while it lasts; what is beyond its
 * rows may be read. */
struct attention_chunk {
    const struct attention_args *args;
    int64_t first; /* its first token within the call */
    int64_t tokens;
    int head_first, heads; /* KV heads */
    int head_rows;         /* tokens * group */
    /* Lines that a tile prefetches for each 16 columns of its first and of its second product. */
    int ahead_keys, ahead_values;
    struct attention_view views[BANDS_MAX]; /* of the call's regimes, each once */
    int view_count;
    float max[ATTENTION_ROWS + 8];
    float sum[ATTENTION_ROWS + 8];
    float *acc[ATTENTION_ROWS];
    char *queries[BANDS_FRAMES_MAX]; /* [rows, row_bytes] as the variant copies them, or NULL */
    size_t row_bytes;
    float *scores; /* [ATTENTION_TILE_ROWS, PANEL_TOKENS] */
    float *other;  /* the same, of a further view */
    void *made;    /* attention_tile_ops.panel_bytes of them, of the panel at hand */
};

/* One head's panel. */
struct attention_panel {
    const char *records; /* its keys in key frame 0 */
    const char *values;
    const char *next_keys; /* what is read after it, or itself */
    const char *next_values;
    struct span span; /* of key indices */
    /* What a variant made of it for all tiles of the chunk, 64-byte aligned, and its own flags of
     * what is there, 0 at first. */
    char *made;
    unsigned *taken;
};

/* A register tile's worth of rows, each one (token, head) of the chunk. */
struct attention_rows {
    int first;       /* within the chunk */
    int row_in_head; /* the same within its KV head */
    int count;
    /* Its share of the next panel, to prefetch; the variant in integers does not: it reads a panel
     * once a chunk. */
    const char *ahead_keys;
    const char *ahead_values;
    float *const *acc; /* [count] */
    float *max;        /* [count], of eight that may be read */
    float *sum;
    uint64_t visible[ATTENTION_TILE_ROWS]; /* lanes of the panel; set for a masked tile */
};

/* c[r][x] (+)= sum_k a[r][k] b[k][x], k over `pairs` pairs: scores, or acc. */
struct attention_product {
    float *const *c;   /* row by row */
    const void *a;     /* [rows, pairs, 2] operands: queries, or probabilities */
    int a_stride;      /* operands */
    const uint32_t *b; /* [pairs, columns] pairs of bf16: keys, or values */
    int b_stride;      /* pairs */
    int pairs;
    bool accumulate;
    /* Memory to prefetch meanwhile, `ahead_lines` lines for each 16 columns: by few rows, which
     * wait for memory, line by line into the second level. */
    const char *ahead;
    int ahead_lines;
};

struct attention_tile_ops {
    enum dtype operand, cache; /* of a call's queries, and its panels */

    /* Of a row of attention_chunk.queries. */
    size_t (*row_bytes)(int head_dim);

    /* Of attention_panel.made, a multiple of 64; NULL: nothing is made. */
    size_t (*panel_bytes)(int head_dim);

    /* out [rows, row_bytes] from in [rows, head_dim]; a variant whose softmax does not scale the
     * scores does it here. */
    void (*copy_queries)(void *out, const void *in, int64_t rows, int head_dim, float scale_log2);

    /* Whether fold and whole scale the scores. */
    bool scales_late;

    /* scores [rows, 64] of keys [first, end) of a panel, multiples of 16, through one view. */
    void (*score)(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view, float *scores,
                  int first, int end);

    /* Folds a panel whose scores are chunk->scores into a tile of rows that see those of its keys
     * that rows->visible says, all among `lanes`. */
    void (*fold)(const struct attention_chunk *chunk, const struct attention_panel *panel,
                 const struct attention_rows *rows, uint64_t lanes);

    /* Folds a panel into a tile of rows that see it whole through one view. */
    void (*whole)(const struct attention_chunk *chunk, const struct attention_panel *panel,
                  const struct attention_rows *rows, struct attention_view view);
};

void attention_walk(const struct attention_args *args, const struct attention_tile_ops *ops);

size_t attention_walk_scratch_bytes(const struct kernels_limits *limits,
                                    const struct attention_tile_ops *ops);

/* The product of a tile's queries with a panel's bf16 keys: scores. The caller says where they
 * go. */
static inline void attention_walk_scores(struct attention_product *product,
                                         const struct attention_chunk *chunk,
                                         const struct attention_panel *panel,
                                         const struct attention_rows *rows,
                                         struct attention_view view)
{
    int head_dim = chunk->args->head_dim;
    *product = (struct attention_product){
        .a = chunk->queries[view.query_frame] + (size_t)rows->first * chunk->row_bytes,
        .a_stride = head_dim,
        .b = (const uint32_t *)(const void *)(panel->records +
                                              (size_t)view.key_frame * chunk->args->record_stride),
        .b_stride = PANEL_TOKENS,
        .pairs = head_dim / 2,
        .ahead = rows->ahead_keys,
        .ahead_lines = chunk->ahead_keys,
    };
}

/* The product of a tile's probabilities, of `operand_bytes` an element from the start of each row
 * of chunk->scores on, with a panel's bf16 values: into acc, over the keys among `lanes`; the
 * others' probabilities are 0. */
static inline void attention_walk_values(struct attention_product *product,
                                         const struct attention_chunk *chunk,
                                         const struct attention_panel *panel,
                                         const struct attention_rows *rows, uint64_t lanes,
                                         size_t operand_bytes)
{
    int head_dim = chunk->args->head_dim;
    int first = __builtin_ctzll(lanes) / 2;
    int end = (65 - __builtin_clzll(lanes)) / 2;
    *product = (struct attention_product){
        .c = rows->acc,
        .a = (const char *)chunk->scores + (size_t)(2 * first) * operand_bytes,
        .a_stride = PANEL_TOKENS * (int)(sizeof(float) / operand_bytes),
        .b = (const uint32_t *)(const void *)panel->values + (size_t)first * (size_t)head_dim,
        .b_stride = head_dim,
        .pairs = end - first,
        .accumulate = true,
        .ahead = rows->ahead_values,
        .ahead_lines = chunk->ahead_values,
    };
}
