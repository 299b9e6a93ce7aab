/* Reads the lines of batches whose input is whole: a thread that takes every such batch in turn, a
 * slice of lines at a time, so that a long one holds up no short one. What it has read is in the
 * store: a coordinator that comes back goes on behind it. */
#pragma once

#include "coordinator/batch/store.h"
#include "coordinator/prompt.h"
#include "proto/status.h"

struct batch_validate;

struct access;

/* Borrows all; starts the thread. A batch whose lines exceed its tenant's quotas is failed. */
MUST_CHECK enum status batch_validate_create(struct batch_validate **validate, struct store *store,
                                             const struct prompt_forms *forms,
                                             struct access *access);

/* Ends the thread, in the middle of a slice if need be. NULL is accepted. */
void batch_validate_destroy(struct batch_validate *validate);

/* An input is whole. */
void batch_validate_wake(struct batch_validate *validate);
