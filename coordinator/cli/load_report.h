/* The results of `longhaul load` as a table, as JSON lines and as charts. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/load_point.h"
#include "coordinator/cli/measured_cluster.h"
#include "proto/status.h"

enum { LOAD_REPORT_POINTS_MOST = 32 };

struct load_report {
    const struct manifest *manifest;
    const struct measured_cluster *cluster;
    const struct load_settings *settings;
    struct load_point *points; /* [count], at most LOAD_REPORT_POINTS_MOST */
    size_t count;
};

/* A line with the manifest, which comes first. */
void load_report_manifest(FILE *file, const struct load_report *report);

/* A line of one load that has ended, with each of its requests. */
void load_report_point(FILE *file, const struct load_report *report, size_t index);

/* All of these lines. */
void load_report_lines(FILE *file, const struct load_report *report);

/* For people: a table, the first reason of failures, and what disturbed the measurement. */
void load_report_table(FILE *file, const struct load_report *report);

/* Throughput against interactivity, and the time to the first token, where there are two loads of a
 * kind at least. `folder` NULL: no files. `shown`: on standard output too. */
MUST_CHECK enum status load_report_charts(const struct load_report *report, const char *folder,
                                          bool shown);
