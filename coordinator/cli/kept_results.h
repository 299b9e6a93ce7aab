/* The results that an earlier run has left: those that stay, and those that are made again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/text_set.h"
#include "longhaul/v1/batches.pb-c.h"
#include "proto/status.h"

/* {0} before the first line. */
struct kept_results {
    struct text_set ids; /* whose results are there, in completion order */
    int64_t lines;       /* that are there; in input order the first of the input */
    int64_t completed, failed;
    Longhaul__V1__BatchUsage usage;
};

/* Reads the output of an earlier run, and takes out of the file what is to be made again: a torn
 * line, a line that failed by no fault of its own, a line without a custom_id. With `in_order`
 * everything behind the first of these. A file that is not there is an empty one. */
MUST_CHECK enum status kept_results_read(struct kept_results *kept, const char *path,
                                         bool in_order);

/* Counts a result that is written now. */
void kept_results_count(struct kept_results *kept, int status_code,
                        const Longhaul__V1__BatchUsage *usage);

void kept_results_deinit(struct kept_results *kept);
