/* The log-probabilities of a stage's tokens, on their way to rank 0. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"
#include "worker/engine/forward.h"

/* Borrowed arenas. */
struct score_place {
    float *rows; /* [rows] of this rank's stage */
    float *all;  /* rank 0: [context] of the text */
};

/* After forward_stage and forward_settle (and, with sharded queries, forward_score into `rows`):
 * rank 0's observer is told. A number that is not finite ends the request on all ranks. */
MUST_CHECK enum status score_stage(struct forward *forward, const struct score_place *place,
                                   bool replicated, struct span stage);
