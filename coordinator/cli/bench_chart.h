/* The charts of `longhaul bench`: rates by length, a line a method. */
#pragma once

#include <stdbool.h>

#include "coordinator/cli/bench_report.h"
#include "proto/status.h"

/* Those for which there are two lengths at least. `folder` NULL: no files. `shown`: on standard
 * output too. */
MUST_CHECK enum status bench_chart_draw(const struct bench_report *report, const char *folder,
                                        bool shown);
