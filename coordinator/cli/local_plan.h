/* A dry run without a coordinator: the plan that a worker group of this host would make, from the
 * model file's facts. */
#pragma once

#include <stdint.h>

#include "proto/config.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/model/model.h"
#include "proto/status.h"

struct local_plan_args {
    const struct model *model;
    const struct config *config;
    int64_t prompt_tokens;
    int64_t max_tokens; /* below 0: as many as a request that does not say */
};

/* Of this host, where all the workers are. */
struct local_plan_memory {
    int64_t free_bytes;   /* 0: not known */
    int64_t shared_bytes; /* of the ranks' weights, what lies there once and is counted again */
};

/* The caller frees the plan with longhaul__v1__plan_response__free_unpacked. What only a worker
 * knows (scratch, how weights are laid out) is estimated: memory is right to a few per cent.
 */
MUST_CHECK enum status local_plan_make(Longhaul__V1__PlanResponse **plan,
                                       struct local_plan_memory *memory,
                                       const struct local_plan_args *args);
