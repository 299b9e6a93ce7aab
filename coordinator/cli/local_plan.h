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

/* The caller frees the plan with longhaul__v1__plan_response__free_unpacked. What only a worker
 * knows (scratch, how weights are laid out) is estimated: memory is right to a few per cent.
 * `*host_bytes` is the memory that is free here, 0 where it is not known. */
MUST_CHECK enum status local_plan_make(Longhaul__V1__PlanResponse **plan, int64_t *host_bytes,
                                       const struct local_plan_args *args);
