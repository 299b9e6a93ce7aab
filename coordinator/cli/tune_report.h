/* What tune has found: a table, the curve, tune.json, and method.yaml, which other commands take by
 * --config. */
#pragma once

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/tune_search.h"

struct tune_report_args {
    const struct tune_candidates *candidates;
    const struct manifest *manifest;
    const char *folder, *model;
    const char *first_name; /* "shift" */
    const char *second_name;
    int64_t length;
    double seconds; /* that were used */
    bool json, charts;
};

MUST_CHECK enum status tune_report(const struct tune_report_args *args);
