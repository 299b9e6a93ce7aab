/* Seconds of a stage on a cluster that need not be there: the stage's schedule played through, rank
 * by rank and message by message, by the rules of the engine.
 *
 * A rank computes the products of its rows, then attends by its reads in sequence, layer after
 * layer, and stands still for a read whose keys have not come. Its keys travel as soon as their
 * rows are computed. A block travels once its receiver has a receive slot for it and its sender has
 * it; a slot is free again once its read is attended and its forward is sent (schedule.h).
 *
 * Layers are taken as alike: a few are played, and the last ones' pace is that of all others. What
 * differs between layers and heads (sight.h) is spread over all of them.
 */
#pragma once

#include "proto/plan/choice.h"
#include "proto/plan/cost.h"
#include "proto/plan/model_shape.h"
#include "proto/plan/schedule.h"
#include "proto/plan/simulate_exchange.h"
#include "proto/status.h"

/* Of all ranks alike. */
struct simulate_machine {
    double linear_flops;    /* per second, matrix products of a prefill */
    double attention_flops; /* per second */
    double memory_bytes;    /* per second */
    struct simulate_links links;
    double call_s;       /* to start one call of attention */
    double state_passes; /* how often a call moves the states of the rows that it serves */
    int call_reads;      /* most reads of one call where keys travel; 0: any number */
    double pieces;       /* the plan's blocks that one block of the schedule stands for */
};

/* Of one stage, all layers. */
struct simulate_stage {
    double seconds;         /* until the last rank is done */
    double compute_seconds; /* the longest that any rank computes, its calls' costs included */
};

/* `schedule` has lists (schedule_make) and sharded queries. */
MUST_CHECK enum status simulate_stage(struct simulate_stage *stage, const struct schedule *schedule,
                                      const struct choice *choice, const struct model_shape *shape,
                                      const struct simulate_machine *machine);
