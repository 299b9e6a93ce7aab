/* How many pairs a tile (query span x key span) holds, and which of its keys are read: interval
 * arithmetic on regimes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/regimes.h"

/* Visible pairs of queries x keys in `store`. */
int64_t tiles_pairs(const struct regimes *regimes, struct span queries, struct span keys,
                    enum bands_store store);

/* Where what a query sees of `keys` begins or ends because of its distance, as at the diagonal, or
 * where one regime gives way to another: a kernel finds a panel there that it has to look into. */
int64_t tiles_edges(const struct regimes *regimes, struct span queries, struct span keys,
                    enum bands_store store);

/* Whether some pair is visible. */
bool tiles_read(const struct regimes *regimes, struct span queries, struct span keys,
                enum bands_store store);

/* `keys` cut to the panels from the first to the last one that some of the `count` query spans read
 * in the panels, ends kept where they are nearer; empty (first == end) if none is read. */
struct span tiles_trim(const struct regimes *regimes, const struct span *queries, int count,
                       struct span keys, int panel_tokens);
