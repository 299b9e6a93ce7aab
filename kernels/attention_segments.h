/* How attention on a GPU walks a tile of queries through its keys: exact integer arithmetic, the
 * same code in the kernels, in their launchers and in the tests that replay it on the host.
 *
 * For a tile of queries and an extent of keys each part of a regime (kernels/regimes.h) is a
 * segment: panels [first, end), of which [full_first, full_end) need no mask. A panel that several
 * segments share is walked once for each, with masks that complement each other, and the online
 * softmax merges them. So every visible pair is met exactly once.
 *
 * Indices stay below 2^40, so that no sum here overflows.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/attention.h"
#include "kernels/regimes.h"

enum {
    ATTENTION_EXTENTS_MAX = 24, /* extents of keys in one call */
    ATTENTION_SPANS_MAX = 8,    /* spans of queries in one call */
    ATTENTION_QUERY_TILE = 192, /* most queries of a tile */
};

/* Queries that are contiguous both in rows and in indices. */
struct attention_span {
    int64_t row;
    int64_t index;
    int64_t tokens;
};

/* Keys to attend to: panels, one behind the other. */
struct attention_extent {
    const void *records;
    int64_t first;         /* index of the first panel's first key: a multiple of PANEL_TOKENS */
    int64_t end;           /* keys at and beyond it are not there; their rows are not read */
    int32_t store;         /* enum bands_store */
    int32_t panel_records; /* K in so many key frames but one, and V */
    int32_t span_first, span_end; /* the spans of queries that it applies to */
};

/* One panel of one segment, for one tile of queries. A pair of the tile's query r and the panel's
 * key c is visible through it if attention_visit_sees(). */
struct attention_visit {
    int64_t panel;       /* of the extent */
    int32_t keys;        /* rows of the panel that may be read; 0 ends the walk */
    int16_t query_frame; /* of the rotated queries */
    int16_t key_frame;   /* of the panel's keys */
    int32_t masked;      /* 0: every pair is visible, and the rest is not looked at */
    int32_t extent;
    int32_t near, far; /* r - c in [near, far) */
    int32_t key_first, key_end;
    int32_t query_first, query_end;
};

BANDS_CALL bool attention_visit_sees(const struct attention_visit *visit, int r, int c)
{
    return !visit->masked ||
           (r - c >= visit->near && r - c < visit->far && c >= visit->key_first &&
            c < visit->key_end && r >= visit->query_first && r < visit->query_end);
}

/* Where a walk stands in an extent; panels count from the extent's first. */
struct attention_visits {
    int64_t index; /* of the tile's first query */
    int32_t tokens;
    int16_t query;                /* of the tile, that the segment's part begins with */
    int16_t next;                 /* of the tile, that the regime's next part begins with */
    int64_t panel, end;           /* of the segment */
    int64_t full_first, full_end; /* its part without masks */
    int32_t regime;               /* of the segment; count: the extent is done */
    int32_t extent;
};

/* Within a tile every bound beyond it is the same; so 64 bits become 32. */
BANDS_CALL int32_t attention_segments_clamped(int64_t bound)
{
    const int64_t most = 2 * ATTENTION_QUERY_TILE;
    return (int32_t)(bound < -most ? -most : bound > most ? most : bound);
}

/* To the panels of `extent` that queries [index, index + tokens) see through the part that follows
 * in `regime`. */
BANDS_CALL void attention_visits_segment(struct attention_visits *visits,
                                         const struct regime *regime,
                                         const struct attention_extent *extent)
{
    struct regime_part part;
    const int64_t index_end = visits->index + visits->tokens;
    visits->query = visits->next;
    regime_part(&part, regime, visits->index + visits->query);
    visits->next = (int16_t)(regimes_smaller(part.query_end, index_end) - visits->index);
    const int64_t query_first = part.query_first;
    const int64_t query_end = regimes_smaller(index_end, part.query_end);
    const int64_t key_first = regimes_larger(extent->first, part.key_first);
    const int64_t key_end = regimes_smaller(extent->end, part.key_end);
    const bool bounded = part.distance_end != BANDS_OPEN;
    int64_t first = key_first;
    if (bounded)
        first = regimes_larger(first, query_first - part.distance_end + 1);
    const int64_t end = regimes_smaller(key_end, query_end - part.distance_first);
    visits->panel = visits->end = visits->full_first = visits->full_end = 0;
    if (query_first >= query_end || first >= end)
        return;
    visits->panel = (first - extent->first) / PANEL_TOKENS;
    visits->end = (end - extent->first + PANEL_TOKENS - 1) / PANEL_TOKENS;
    /* A full panel starts in [full, full_last]. */
    int64_t full = key_first;
    if (bounded)
        full = regimes_larger(full, index_end - part.distance_end);
    const int64_t full_last =
        regimes_smaller(key_end, visits->index + 1 - part.distance_first) - PANEL_TOKENS;
    if (query_first != visits->index || query_end != index_end || full_last < full)
        return;
    visits->full_first = (full - extent->first + PANEL_TOKENS - 1) / PANEL_TOKENS;
    visits->full_end = (full_last - extent->first) / PANEL_TOKENS + 1;
}

/* Starts a tile, before any extent. */
BANDS_CALL void attention_visits_begin(struct attention_visits *visits, int64_t index,
                                       int64_t tokens)
{
    visits->index = index;
    visits->tokens = (int32_t)tokens;
    visits->panel = visits->end = visits->full_first = visits->full_end = 0;
    visits->query = visits->next = 0;
    visits->regime = -1;
    visits->extent = 0;
}

/* What the tile's queries see of panel visits->panel through `regime`. A panel without a mask is
 * whole, and most are without: the rest of its visit is left as it is. */
BANDS_CALL void attention_visits_fill(const struct attention_visits *visits,
                                      struct attention_visit *visit, const struct regime *regime,
                                      const struct attention_extent *extent)
{
    visit->panel = visits->panel;
    visit->extent = visits->extent;
    visit->keys = PANEL_TOKENS;
    visit->query_frame = (int16_t)regime->query_frame;
    visit->key_frame = (int16_t)regime->key_frame;
    visit->masked = visits->panel < visits->full_first || visits->panel >= visits->full_end;
    if (!visit->masked)
        return;
    struct regime_part part;
    regime_part(&part, regime, visits->index + visits->query);
    const int64_t key = extent->first + visits->panel * PANEL_TOKENS;
    const int64_t ahead = visits->index - key; /* distance of query 0 and key 0 */
    visit->keys = (int32_t)regimes_smaller(extent->end - key, PANEL_TOKENS);
    visit->near = attention_segments_clamped(part.distance_first - ahead);
    visit->far = part.distance_end == BANDS_OPEN
                     ? 2 * ATTENTION_QUERY_TILE
                     : attention_segments_clamped(part.distance_end - ahead);
    visit->key_first = attention_segments_clamped(part.key_first - key);
    visit->key_end = attention_segments_clamped(regimes_smaller(part.key_end, extent->end) - key);
    visit->query_first = attention_segments_clamped(part.query_first - visits->index);
    visit->query_end = attention_segments_clamped(
        regimes_smaller(part.query_end, visits->index + visits->tokens) - visits->index);
}

/* Whether the regime at hand has a part that the tile has not met in `extent`. */
BANDS_CALL bool attention_visits_more(const struct attention_visits *visits,
                                      const struct regimes *regimes,
                                      const struct attention_extent *extent)
{
    if (visits->regime < 0)
        return false;
    const struct regime *regime = &regimes->list[visits->regime];
    return regime->store == extent->store && visits->next < visits->tokens &&
           visits->index + visits->next < regime->query_end;
}

/* The next panel of `extent`; false, and ready for another extent, when there is none. */
BANDS_CALL bool attention_visits_next(struct attention_visits *visits,
                                      struct attention_visit *visit, const struct regimes *regimes,
                                      const struct attention_extent *extent)
{
    while (visits->panel >= visits->end) {
        if (!attention_visits_more(visits, regimes, extent)) {
            if (++visits->regime >= regimes->count) {
                visits->regime = -1;
                return false;
            }
            visits->next = 0;
            continue;
        }
        attention_visits_segment(visits, &regimes->list[visits->regime], extent);
    }
    attention_visits_fill(visits, visit, &regimes->list[visits->regime], extent);
    visits->panel++;
    return true;
}

/* The next visit of a tile of span `span` through `extents`, in order; keys = 0 at the end. */
BANDS_CALL void attention_visits_advance(struct attention_visits *visits,
                                         struct attention_visit *visit,
                                         const struct regimes *regimes,
                                         const struct attention_extent *extents, int extent_count,
                                         int span)
{
    for (; visits->extent < extent_count; visits->extent++) {
        const struct attention_extent *extent = &extents[visits->extent];
        if (span >= extent->span_first && span < extent->span_end &&
            attention_visits_next(visits, visit, regimes, extent))
            return;
    }
    visit->keys = 0;
}

/* Tiles of queries of a call: those of a span follow each other, the last one may be short. */
BANDS_CALL int64_t attention_span_tiles(const struct attention_span *span, int tile_tokens)
{
    return (span->tokens + tile_tokens - 1) / tile_tokens;
}

/* The span that tile `tile` (of all spans, in order) lies in; *tile becomes its number there. */
BANDS_CALL int attention_span_of_tile(int64_t *tile, const struct attention_span *spans,
                                      int span_count, int tile_tokens)
{
    int span = 0;
    while (span + 1 < span_count && *tile >= attention_span_tiles(&spans[span], tile_tokens))
        *tile -= attention_span_tiles(&spans[span++], tile_tokens);
    return span;
}
