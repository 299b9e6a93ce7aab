/* Which part of a model's weights a rank has where a group's mesh has a tensor axis: query heads
 * with their KV heads, and columns of the feed-forward part. The embedding, the norms and the
 * output are whole on every rank.
 *
 * A rank's part is a smaller model: as wide as the whole one, with fewer heads and a narrower
 * feed-forward part. What it adds to the residual stream is a partial sum, and the sum over the
 * axis, in the order of places, is what the whole model adds.
 */
#pragma once

#include <stdbool.h>

#include "kernels/bands.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

struct tensor_slice {
    int place, places; /* of the axis */
    struct span heads; /* of queries */
    /* That they read; where there are fewer KV heads than places, several places have the same one.
     * Every one of them serves as many of the slice's query heads. */
    struct span kv_heads;
    struct span ffn; /* columns of gate and up, and so many inputs of down */
};

/* The slice of one place. KV heads are dealt whole, later places get what does not divide; of fewer
 * KV heads than places each is shared by several places, which take its query heads between them.
 * The feed-forward part is cut so that a row is about as much work everywhere, at multiples of
 * shape->ffn_block where there are as many of them as places. INVALID_ARGUMENT for more places than
 * query heads or feed-forward columns. */
MUST_CHECK enum status tensor_slice_make(struct tensor_slice *slice,
                                         const struct model_shape *shape, int places, int place);

/* The shape of the smaller model. weights_bytes stays what it was. */
struct model_shape tensor_slice_shape(const struct model_shape *shape,
                                      const struct tensor_slice *slice);
