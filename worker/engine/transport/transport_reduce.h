/* Sums of float32 over ranks. Each is taken in the order of ranks, ((x0 + x1) + x2) + ..., so that
 * it has the same bits whatever carries the parts and whenever they come.
 *
 * All ranks call these in the same order as collectives, with the same offsets, sizes and
 * scratch_count. The messages count on TRANSPORT_TOGETHER. */
#pragma once

#include "worker/engine/transport/transport.h"

/* Every rank has [sum] floats at `all`; rank r gets the sum over ranks of what lies at offsets[r],
 * sizes[r] bytes, at `mine`. `mine` may be that place in `all`; else the two do not overlap. With
 * NCCL all three, `sums->scratch` included, may lie on the GPU, and INVALID_ARGUMENT says that only
 * some of them do; the sum is then there for what follows on the compute stream. */
MUST_CHECK enum status transport_reduce_scatter(struct transport *t, float *mine, const float *all,
                                                const struct transport_sums *sums);

/* The same, after which every rank has every part of the sum, in place. */
MUST_CHECK enum status transport_reduce(struct transport *t, float *all,
                                        const struct transport_sums *sums);

/* For implementations: the sum by messages of their own. */
MUST_CHECK enum status transport_reduce_by_messages(struct transport *t, float *mine,
                                                    const float *all,
                                                    const struct transport_sums *sums);
