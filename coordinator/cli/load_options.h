/* What `longhaul load` is asked for: lengths, loads and goals. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/cli/load_point.h"
#include "coordinator/cli/load_report.h"
#include "coordinator/cli/server_option.h"
#include "proto/flags.h"
#include "proto/status.h"

enum { LOAD_OPTIONS_ROWS = 17 };

struct load_options {
    struct server_option server;
    const char *prompts, *answers, *concurrency, *rates, *goodput, *out;
    double shared;
    int64_t requests; /* of each load; 0: not given */
    uint64_t seed;
    bool json, chart;
};

/* The defaults, and the rows that write into `options`. */
void load_options_init(struct load_options *options, struct flags_row rows[LOAD_OPTIONS_ROWS]);

/* INVALID_ARGUMENT with the option's name. `points` gets the loads, which have no requests yet. */
MUST_CHECK enum status load_options_read(const struct load_options *options,
                                         struct load_settings *settings,
                                         struct load_point points[LOAD_REPORT_POINTS_MOST],
                                         size_t *point_count);
