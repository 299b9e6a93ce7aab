/* The options of commands that measure: where results go, and in which form they are told. */
#pragma once

#include <stdbool.h>

#include "proto/flags.h"

/* --out DIR, -o; `help` says what comes there. */
struct flags_row report_option_out_row(const char **folder, const char *help);

struct flags_row report_option_chart_row(bool *chart);

/* --json; `help` says what the lines are. */
struct flags_row report_option_json_row(bool *json, const char *help);
