/* How many pairs a tile (query span x key span) holds, and which of its keys are read: interval
 * arithmetic on bands. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"

/* Visible pairs of queries x keys in `key_frame`. */
int64_t tiles_pairs(const struct bands *bands, struct span queries, struct span keys,
                    int key_frame);

/* Whether some pair is visible. */
bool tiles_read(const struct bands *bands, struct span queries, struct span keys, int key_frame);

/* `keys` cut to the panels from the first to the last one that some of the `count` query spans read
 * in key frame 0, ends kept where they are nearer; empty (first == end) if none is read. */
struct span tiles_trim(const struct bands *bands, const struct span *queries, int count,
                       struct span keys, int panel_tokens);
