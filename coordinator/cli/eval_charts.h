/* The charts of an evaluation: score by length for each task, and what was found by depth. */
#pragma once

#include "coordinator/cli/eval_report.h"
#include "coordinator/cli/eval_rows.h"

/* score-TASK.svg and depth-TASK.svg in the folder, and on standard output where `args` say so. */
MUST_CHECK enum status eval_charts_draw(const struct eval_report_args *args,
                                        const struct eval_rows *rows,
                                        const struct eval_groups *groups);
