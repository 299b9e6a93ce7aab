/* What a person and a program see of an evaluation: a table, JSON lines, charts. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"

struct eval_report_args {
    const char *folder;
    const char *model; /* of the charts' subtitles */
    bool json, charts; /* charts on the terminal, too; those in the folder are always made */
};

/* Of the folder's results: summary.json, charts, and what goes to standard output. */
MUST_CHECK enum status eval_report(const struct eval_report_args *args);
