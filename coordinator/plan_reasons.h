/* Why a plan is as it is: a sentence for each decision, with the seconds that were weighed. */
#pragma once

#include "coordinator/planner.h"
#include "proto/cost_file.h"

enum { PLAN_REASONS_MAX = 7, PLAN_REASON_BYTES = 256 };

struct plan_reasons {
    char lines[PLAN_REASONS_MAX][PLAN_REASON_BYTES]; /* [count] */
    char *pointers[PLAN_REASONS_MAX];
    int count;
};

/* `costs`: the rates that were used; NULL: the kernels' estimates. */
void plan_reasons_tell(struct plan_reasons *reasons, const struct planner_weighed *weighed,
                       const struct cost_file *costs);
