/* Blocks of keys for kernels that take two panels at a time: the walk of attention_segments.h, an
 * even panel with the odd one behind it where both belong to the same segment. Where one of the two
 * is not to be seen, the other one stands in its place too, and is masked there: so the blocks that
 * a row of queries is met with do not depend on the tile that it is in. Exact integer arithmetic,
 * in the kernels and in the tests that replay it on the host. */
#pragma once

#include "kernels/attention_segments.h"

/* What is to be known of a block: flags. */
enum {
    ATTENTION_BLOCK_SEEN = 1,     /* without it the tile sees no key, and nothing else is said */
    ATTENTION_BLOCK_SWITCHES = 2, /* its queries are in another frame than the block before's */
    ATTENTION_BLOCK_LAST = 4,     /* of its tile */
    ATTENTION_BLOCK_SHORT = 8,    /* not all of its keys are stored */
    ATTENTION_BLOCK_MASKED = 16,  /* its first half; the second half's is the next bit */
};

struct attention_block {
    struct attention_visit half[2]; /* of the same extent and query frame */
};

/* Where the walk through a tile stands. */
struct attention_blocks {
    struct attention_visits walk;
    struct attention_visit ahead; /* the visit after those that are in a block; keys = 0: none */
    int32_t frame;                /* of the last block; -1: there is none */
    int32_t begun;
};

/* Starts a tile. */
BANDS_CALL void attention_blocks_begin(struct attention_blocks *blocks, int64_t index,
                                       int64_t tokens)
{
    attention_visits_begin(&blocks->walk, index, tokens);
    blocks->frame = -1;
    blocks->begun = 0;
}

/* The usual case made short: two panels without masks, and not the last ones of their segment. */
BANDS_CALL bool attention_blocks_full(struct attention_blocks *blocks,
                                      struct attention_block *block)
{
    const int64_t panel = blocks->ahead.panel;
    if (blocks->ahead.masked || panel + 2 >= blocks->walk.full_end)
        return false;
    for (int h = 0; h < 2; h++) {
        block->half[h].panel = panel + h;
        block->half[h].keys = PANEL_TOKENS;
        block->half[h].query_frame = blocks->ahead.query_frame;
        block->half[h].key_frame = blocks->ahead.key_frame;
        block->half[h].masked = 0;
        block->half[h].extent = blocks->ahead.extent;
    }
    blocks->ahead.panel = panel + 2;
    blocks->walk.panel = panel + 3;
    return true;
}

/* Whether the visit ahead is the odd panel that belongs to `even`, of this regime. */
BANDS_CALL bool attention_blocks_belongs(const struct attention_blocks *blocks,
                                         const struct attention_visit *even, int32_t regime)
{
    return blocks->ahead.extent == even->extent && blocks->walk.regime == regime &&
           blocks->ahead.panel == even->panel + 1;
}

/* Fills the halves that the next block sees; which ones, as bits. */
BANDS_CALL int attention_blocks_take(struct attention_blocks *blocks, struct attention_block *block,
                                     const struct regimes *regimes,
                                     const struct attention_extent *extents, int extent_count,
                                     int span)
{
    int32_t regime = 0;
    int halves = 0;
    for (;;) {
        if (blocks->begun) {
            const struct attention_visit *ahead = &blocks->ahead;
            if (ahead->keys == 0 || halves > 1)
                return halves;
            const int odd = (int)((extents[ahead->extent].first / PANEL_TOKENS + ahead->panel) % 2);
            if (halves == 0 && !odd && attention_blocks_full(blocks, block))
                return 3;
            if (halves == 1 && !attention_blocks_belongs(blocks, &block->half[0], regime))
                return halves;
            regime = blocks->walk.regime;
            block->half[odd] = *ahead;
            halves |= 1 << odd;
        }
        blocks->begun = 1;
        attention_visits_advance(&blocks->walk, &blocks->ahead, regimes, extents, extent_count,
                                 span);
    }
}

/* The next block of a tile of span `span` through `extents`, and its flags; at least one a tile. */
BANDS_CALL int attention_blocks_next(struct attention_blocks *blocks, struct attention_block *block,
                                     const struct regimes *regimes,
                                     const struct attention_extent *extents, int extent_count,
                                     int span)
{
    const int halves = attention_blocks_take(blocks, block, regimes, extents, extent_count, span);
    if (halves == 0)
        return ATTENTION_BLOCK_LAST;
    if (halves < 3) {
        struct attention_visit *other = &block->half[halves % 2];
        *other = block->half[!(halves % 2)];
        other->masked = 1;
        other->key_first = other->key_end = 0;
    }
    int flags = ATTENTION_BLOCK_SEEN;
    if (block->half[0].query_frame != blocks->frame)
        flags |= ATTENTION_BLOCK_SWITCHES;
    blocks->frame = block->half[0].query_frame;
    if (blocks->ahead.keys == 0)
        flags |= ATTENTION_BLOCK_LAST;
    for (int h = 0; h < 2; h++) {
        if (block->half[h].keys < PANEL_TOKENS)
            flags |= ATTENTION_BLOCK_SHORT;
        if (block->half[h].masked)
            flags |= ATTENTION_BLOCK_MASKED << h;
    }
    return flags;
}
