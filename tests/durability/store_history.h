/* A history of a store, drawn from a seed: batches of every kind, uploads, leases, results,
 * cancels, deletions, documents. Beside the store it keeps what was acknowledged, as facts, and
 * holds a store against them: nothing acknowledged is missing, nothing is there twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/store.h"

struct store_history;

struct store_history *store_history_create(uint64_t seed);
void store_history_destroy(struct store_history *history);

/* The next step; anything but UNAVAILABLE is a violation. After UNAVAILABLE the same call takes the
 * same step again. */
enum status store_history_step(struct store_history *history, struct store *store);

/* Steps that were acknowledged. */
int64_t store_history_steps(const struct store_history *history);

/* The leases of an earlier process are over: to be called when the history goes on with a store
 * that was opened anew. */
void store_history_reopened(struct store_history *history);

/* Holds a store against what the first `steps` steps were answered; step `steps` may have been
 * carried out or not. Where it was `reopened`, leases of the time before are over. Returns what is
 * wrong, and prints it; counts facts that were checked. */
int64_t store_history_check(const struct store_history *history, struct store *store, int64_t steps,
                            bool reopened, int64_t *facts);
