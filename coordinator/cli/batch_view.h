/* A batch for people and for scripts: its words, its table, its JSON and how far it is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "longhaul/v1/batches.pb-c.h"

/* "running", "succeeded", ... */
const char *batch_view_state(Longhaul__V1__BatchState state);

/* The state of that word; UNSPECIFIED where there is none. */
Longhaul__V1__BatchState batch_view_state_of(const char *word);

/* Whether nothing of it changes any more. */
bool batch_view_has_ended(const Longhaul__V1__Batch *batch);

/* 0 where every line was answered, else 1. */
int batch_view_exit_code(const Longhaul__V1__Batch *batch);

/* A few lines on standard output. */
void batch_view_print(const Longhaul__V1__Batch *batch);

/* One JSON object on one line. */
void batch_view_print_json(const Longhaul__V1__Batch *batch);

/* Counts and usage as every JSON object has them. */
struct json_writer;
void batch_view_write_counts(struct json_writer *writer, const Longhaul__V1__LineCounts *counts);
void batch_view_write_usage(struct json_writer *writer, const Longhaul__V1__BatchUsage *usage);

/* ---- how far it is ---- */

/* {0} before the first look. */
struct batch_progress {
    double begin_seconds; /* of the first look at lines that run */
    int64_t begin_ended, begin_tokens;
    double told_seconds; /* when a line was last written where no terminal looks on */
    bool quiet;          /* says nothing but on a terminal */
};

/* Draws a line on a terminal; elsewhere writes one every ten seconds. `kept`: lines of an earlier
 * run, that the batch does not have. */
void batch_progress_show(struct batch_progress *progress, const Longhaul__V1__Batch *batch,
                         int64_t kept);
