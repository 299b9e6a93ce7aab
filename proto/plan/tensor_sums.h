/* What the ranks of a tensor axis exchange: partial sums of what a layer adds to the residual
 * stream, twice a layer. Each sum is taken in the order of places, ((x0 + x1) + x2) + ..., so its
 * bits follow from the number of places alone.
 *
 * A sum goes in pieces. Each place sends a piece whole to every other one, and all add it up; or,
 * of the rows of a stage over more than two places, each place adds up a share of the piece and
 * sends the others the sum, which is fewer bytes in two exchanges.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/choice.h"
#include "proto/plan/cost.h"
#include "proto/plan/model_shape.h"

enum {
    TENSOR_SUMS_PIECE = 1 << 18, /* float32s that are summed at a time */
    TENSOR_SUMS_ALIGN = 16,      /* of a place's share, float32s */
    TENSOR_SUMS_OF_LAYER = 2,    /* after attention's output, and after down */
};

/* Whether a piece goes whole to every place. */
static inline bool tensor_sums_whole(int places, bool of_stage)
{
    return places <= 2 || !of_stage;
}

/* A place's share of a piece of `count` float32s. */
struct span tensor_sums_share(int64_t count, int places, int place);

/* float32s of other places' that a rank has room for. */
int64_t tensor_sums_scratch(int places);

/* Adds the bytes and messages of the sums over all layers: of so many rows of a stage or of a step,
 * of the whole model's shape or a slice's. `rank` is of the group. */
void tensor_sums_cost(struct cost *cost, const struct group_choice *group,
                      const struct model_shape *shape, int64_t rows, bool of_stage, int rank);

/* Seconds of the same sums, an estimate: each is waited for. `link` is one along the axis. */
double tensor_sums_seconds(const struct group_choice *group, const struct model_shape *shape,
                           const struct cost_link *link, int64_t rows, bool of_stage, int rank);

/* Ranks [0, places) of the group compute the logits of a step, each its share of the vocabulary:
 * those that have the first tokens where every rank reads the output's weights anyway, or all. */
int tensor_sums_logit_places(const struct choice *choice);
