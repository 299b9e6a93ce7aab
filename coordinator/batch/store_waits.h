/* Who sleeps until something changes in the store: counters, and a condition for each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct store_waits;

/* Batches share so many counters: a wait may end without cause, never the other way round. */
enum { STORE_WAITS = 64 };

MUST_CHECK enum status store_waits_create(struct store_waits **waits);
void store_waits_destroy(struct store_waits *waits);

/* `touched` is a bit for each counter of batches; `lines`: some may wait to run. */
void store_waits_tell(struct store_waits *waits, uint64_t touched, bool lines);

void store_waits_for_lines(struct store_waits *waits, uint64_t *seen, int64_t timeout_ms);
void store_waits_for_batch(struct store_waits *waits, int64_t number, uint64_t *seen,
                           int64_t timeout_ms);
