/* One group of workers measured: prompts of several lengths and methods, and the rates that follow
 * from what the workers report. */
#pragma once

#include <stdint.h>

#include "coordinator/cli/number_list.h"
#include "proto/plan/cost.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

struct rpc_client;

struct calibrate_plan {
    struct model_shape shape; /* weights_bytes comes from the group */
    struct number_list lengths;
    int64_t repetitions;
};

enum { CALIBRATE_KERNELS_BYTES = 32 };

struct calibrate_result {
    int workers, threads; /* threads: of each worker */
    char kernels[CALIBRATE_KERNELS_BYTES];
    struct cost_table table;          /* links with bytes_per_second 0 were not measured */
    double median_error, worst_error; /* predicted seconds over measured ones, less 1 */
};

/* The longest prompt and answer of all. */
int64_t calibrate_group_context(const struct calibrate_plan *plan);

/* Of the first group of a coordinator. */
MUST_CHECK enum status calibrate_group(struct calibrate_result *result, struct rpc_client *client,
                                       const struct calibrate_plan *plan);
