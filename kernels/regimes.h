/* What a query sees, made flat for walks: each visible band (kernels/bands.h) is a regime, a range
 * of queries, of keys and of distances with one query frame and one key frame. No two regimes hold
 * the same pair. They are made once from a table of bands, and then serve the walks of attention on
 * CPUs and GPUs and the planner's counting alike.
 *
 * Where distances count chunks, a regime is met in parts: the queries of one chunk see a rectangle
 * of keys. In tokens it is one part. A part's pairs are plain: i in its queries, j in its keys, and
 * i - j in its distances.
 *
 * Indices stay below 2^40, so that no sum here overflows.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"

struct regime {
    int64_t query_first, query_end;
    int64_t key_first, key_end;
    int64_t unit;                         /* tokens that distances are counted in */
    int64_t distance_first, distance_end; /* in units */
    int64_t window;                       /* in tokens, of a regime that counts chunks */
    double chunks_a_token;                /* 1 / unit */
    int32_t query_frame;
    int32_t key_frame;
    int32_t store; /* enum bands_store: where its keys are read from */
};

struct regimes {
    int32_t count;
    struct regime list[BANDS_MAX];
};

/* The visible bands, sinks first; two that differ only in neighbouring key ranges become one. */
void regimes_make(struct regimes *regimes, const struct bands *bands);

/* Pairs of token indices. Ranges may be empty, their ends before their beginnings. */
struct regime_part {
    int64_t query_first, query_end;
    int64_t key_first, key_end;
    int64_t distance_first, distance_end; /* in tokens */
};

BANDS_CALL int64_t regimes_larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

BANDS_CALL int64_t regimes_smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The part that queries from index `query` on meet, up to part->query_end: the next part begins
 * there, and there is none once that is the regime's own end. */
BANDS_CALL void regime_part(struct regime_part *part, const struct regime *regime, int64_t query)
{
    part->query_first = regimes_larger(query, regime->query_first);
    part->query_end = regime->query_end;
    part->key_first = regime->key_first;
    part->key_end = regime->key_end;
    part->distance_first = regime->distance_first;
    part->distance_end = regime->distance_end;
    if (regime->unit == 1)
        return;
    /* Without a division, for which a GPU's walker has no registers. */
    int64_t chunk = (int64_t)((double)part->query_first * regime->chunks_a_token);
    if (chunk * regime->unit > part->query_first)
        chunk--;
    else if ((chunk + 1) * regime->unit <= part->query_first)
        chunk++;
    part->query_end = regimes_smaller(part->query_end, (chunk + 1) * regime->unit);
    if (chunk < regime->distance_first)
        part->key_end = part->key_first;
    else
        part->key_end =
            regimes_smaller(part->key_end, (chunk - regime->distance_first + 1) * regime->unit);
    if (chunk >= regime->distance_end)
        part->key_first =
            regimes_larger(part->key_first, (chunk - regime->distance_end + 1) * regime->unit);
    part->distance_first = 0;
    part->distance_end = regime->window;
}

/* Bit t is set if query i sees key first_key + t, t < count <= 64, through `regime`. */
uint64_t regime_lanes(const struct regime *regime, int64_t i, int64_t first_key, int count);

enum regimes_tile {
    REGIMES_SKIP,  /* no pair of the tile is visible in this store */
    REGIMES_WHOLE, /* every pair is visible through one regime */
    REGIMES_MIXED, /* anything else */
};

/* Classes queries x keys in `store`; *regime is set only for REGIMES_WHOLE. Empty spans are
 * REGIMES_SKIP. */
enum regimes_tile regimes_classify(const struct regimes *regimes, struct span queries,
                                   struct span keys, enum bands_store store,
                                   const struct regime **regime);

/* Whether some query index below `tokens` sees a sink in the sinks' own store. */
bool regimes_far_sinks(const struct regimes *regimes, int64_t tokens);
