/* How much work a plan gives each worker of a group: what measured seconds are divided by. */
#pragma once

#include "coordinator/cli/calibrate_fit.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

/* One prompt's plan, as the coordinator told it. */
struct calibrate_work {
    const Longhaul__V1__PlanSummary *plan;
    const struct model_shape *shape; /* with weights_bytes */
    bool one_host;                   /* all workers share one */
};

/* Sets what is work in `prefills` [workers], the rest to 0. */
MUST_CHECK enum status calibrate_work_prefill(struct calibrate_prefill *prefills,
                                              const struct calibrate_work *work);

/* Sets what is work in `decode`, of worker 0, behind the whole prompt, and the seconds that the
 * messages of a token take over such links. */
MUST_CHECK enum status calibrate_work_decode(struct calibrate_decode *decode, double *messages_s,
                                             const struct calibrate_work *work,
                                             const struct cost_link *link);

/* The prompt's seconds by a table of rates. */
MUST_CHECK enum status calibrate_work_seconds(double *seconds, const struct calibrate_work *work,
                                              const struct cost_table *table);
