/* Which pairs of a tile are visible, where tokens stand at positions of their own: the tiles of
 * training.
 *
 * Tokens of a sample have an index, from 0, and a position that does not fall as the index grows.
 * Query i sees key j where j <= i and the bands (kernels/bands.h) show the pair when query ranges
 * and distances are taken of positions; which keys are sinks goes by index. Through one regime a
 * query then sees one contiguous range of keys, and both ends of it only grow from query to query.
 * With positions that are the indices, these are the pairs of bands_find.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/regimes.h"

/* Query tokens and keys of the largest tile: a multiple of the rows and columns of every variant's
 * register tile. */
enum { ATTENTION_SPANS_TOKENS = 96 };

/* The pairs of a tile through one regime. Token t of the tile's queries sees keys [first[t],
 * end[t]) of the tile, counted from its first; first[t] = end[t] where it sees none. */
struct attention_spans_regime {
    int32_t query_frame, key_frame;
    int32_t first[ATTENTION_SPANS_TOKENS];
    int32_t end[ATTENTION_SPANS_TOKENS];
};

/* No pair is in two of them, and each holds at least one; count 0: the tile is not computed. */
struct attention_spans {
    int32_t count;
    struct attention_spans_regime list[BANDS_MAX];
};

/* Of queries x keys, ranges of indices of at most ATTENTION_SPANS_TOKENS each. positions [sample]:
 * those of the whole sample, at least 0 and not falling. */
void attention_spans_make(struct attention_spans *spans, const struct regimes *regimes,
                          const int32_t *positions, struct span queries, struct span keys);

/* first, end [queries]: the keys that consecutive queries, however many, see through one regime,
 * counted from the first of `keys`; the two are equal where there are none. Whether any pair is
 * visible. */
bool attention_spans_ranges(int32_t *first, int32_t *end, const struct regime *regime,
                            const int32_t *positions, struct span queries, struct span keys);

/* Whether any query of a range of indices, of whatever length, sees any of `keys`. */
bool attention_spans_meet(const struct regimes *regimes, const int32_t *positions,
                          struct span queries, struct span keys);
