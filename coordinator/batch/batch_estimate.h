/* What lines would take: exact tokens, and predictions of memory, seconds and bytes by the plan
 * of a group that is there. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/line_request.h"
#include "coordinator/errand.h"
#include "longhaul/v1/batches.pb-c.h"
#include "proto/status.h"

struct batch_estimate;

/* Borrows all; `tenant`: whose documents the lines may name. Without a ready group memory, seconds
 * and bytes are not known, and its text says so. */
MUST_CHECK enum status batch_estimate_create(struct batch_estimate **estimate, struct store *store,
                                             const struct errand_tools *errand, const char *tenant);

/* Accepts NULL. */
void batch_estimate_destroy(struct batch_estimate *estimate);

/* A part of the lines, cut anywhere. */
MUST_CHECK enum status batch_estimate_feed(struct batch_estimate *estimate, const void *bytes,
                                           size_t count);

/* No more lines. Fills all but `used` and `used_seconds`; what it points at is the estimate's. */
MUST_CHECK enum status batch_estimate_end(struct batch_estimate *estimate,
                                          Longhaul__V1__BatchEstimate *message);
