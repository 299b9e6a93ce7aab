/* What the store does by itself, in small parts between the changes of others: ends batches whose
 * time has passed, ends the waiting lines of those that are cancelled, forgets what is deleted or
 * has passed its retention, old request ids and documents, and leases that ran out. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct store;
struct store_turn;

/* One part; `more`: there is more to do at once. */
MUST_CHECK enum status store_sweep_step(struct store_turn *turn, bool *more);

/* Lines that were leased until `until_us` at most wait again. At a start, with INT64_MAX, all of
 * them: their attempts do not count, for it was not they that failed. */
MUST_CHECK enum status store_sweep_leases(struct store_turn *turn, int64_t until_us);

/* Removes what an upload left, and after an unclean end documents that no row names. */
MUST_CHECK enum status store_sweep_files(struct store *store, bool unclean);
