/* What a what-if shows: a table with a chart, one JSON object, or charts as SVG files. */
#pragma once

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/what_if.h"
#include "proto/status.h"

/* Charts for a terminal as wide as `columns`; 0: there is none, and no colours. */
MUST_CHECK enum status what_if_report_print(const struct what_if *what_if, int columns);
void what_if_report_json(const struct what_if *what_if, const struct manifest *manifest);

/* Into `folder`, which is made where it is missing: efficiency and seconds of each method by the
 * number of workers. */
MUST_CHECK enum status what_if_report_draw(const struct what_if *what_if, const char *folder);
