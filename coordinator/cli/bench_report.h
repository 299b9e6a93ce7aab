/* The results of `longhaul bench` as a table, as JSON lines and as charts. */
#pragma once

#include <stdio.h>

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/bench_case.h"
#include "coordinator/cli/measured_cluster.h"
#include "proto/status.h"

struct bench_report {
    const struct manifest *manifest;
    const struct measured_cluster *cluster;
    struct bench_cases *cases;
    int64_t repetitions;
};

/* A line with the manifest alone, for runs that are told one by one as they end. */
void bench_report_begin(FILE *file, const struct bench_report *report);

/* A line of a case's last repetition, flushed. */
void bench_report_run(FILE *file, const struct bench_case *one, int64_t repetition);

/* A line with the manifest, then one for each case. */
void bench_report_lines(FILE *file, const struct bench_report *report);

/* For people: a table, and what disturbed the measurement. */
void bench_report_table(FILE *file, const struct bench_report *report);
