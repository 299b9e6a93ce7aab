/* Makes a choice: what a request asks for, and the rest by predicted cost. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/choice.h"
#include "proto/plan/cost.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

/* What a caller asks for; -1 leaves a field to the planner. */
struct chooser_request {
    struct method method;
    int workers;
    int tensor; /* as struct group_choice; the shape is a slice's then */
    int64_t context_tokens;
    /* Stages and partition are weighed for as long a context, where it is longer: prompts of a
     * group that are cut alike can share their beginnings. 0: for the request's own. */
    int64_t weighed_context_tokens;
    const char *kernels;
    enum choice_cache cache;
    int partition;        /* enum partition_kind or -1 */
    int schedule;         /* enum choice_schedule or -1 */
    int64_t stage_tokens; /* 0 or more, or -1 */
    int64_t stage_rows;   /* where it is -1: rows of a rank that there is room for; 0: any */
    double stage_seconds; /* where it is -1: longest that a stage should take; 0: any */
    /* The same of its arithmetic alone, where a shorter one would keep the link busy for more than
     * a quarter of that: every stage sends the keys of all before it again. */
    double linked_stage_seconds;
    double pace;      /* seconds of arithmetic for each that is predicted; with stage_seconds */
    int queries;      /* enum choice_queries or -1 */
    int decode_split; /* a set of decode_split.h, or -1 */
    int decode_home;  /* 0, 1, or -1 where decode_split is -1 too */
    /* Where it is -1: tokens of the answer, which repay what its keys take to go to rank 0, and
     * slots of a rank's pool; 0: any. */
    int64_t answer_tokens, pool_slots;
    bool shared_memory_bus; /* some ranks share one memory bus (a host): decode always splits */
    const struct partition_weights *weights; /* NULL: none */
};

/* What was weighed, predicted seconds; all 0 where the request had left nothing open. */
struct chooser_weighed {
    double contiguous_s, zigzag_s; /* of the prompt's first stages, by either partition */
    double stage_s;                /* of the context's last stage, where stages were limited */
    bool linked; /* shorter stages would have kept the link busy for too much of their time */
    double shared_s, alone_s, home_s; /* of a token with its keys: by all ranks, or by rank 0; and
                                       * until its keys are there. Where that was open */
    double split_s, whole_s; /* of a decoded token without its keys: products split as chosen, or
                                whole */
};

/* The planner's choice: by predicted cost, where the request leaves it open. `weighed` may be
 * NULL. */
MUST_CHECK enum status chooser_weigh(struct choice *choice, struct chooser_weighed *weighed,
                                     const struct chooser_request *request,
                                     const struct model_shape *shape,
                                     const struct cost_table *costs);
MUST_CHECK enum status chooser_choose(struct choice *choice, const struct chooser_request *request,
                                      const struct model_shape *shape,
                                      const struct cost_table *costs);
