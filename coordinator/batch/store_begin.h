/* How a store comes to be open, and comes back after its disk failed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct store;
struct store_turn;

/* Opens the database behind an opened place: tables, leases that are over, files without a row. The
 * mark is `open` afterwards. */
MUST_CHECK enum status store_begin(struct store *store, bool accept_lost_log);

/* What the writer has in memory, from disk again. */
MUST_CHECK enum status store_begin_load(struct store *store);

/* Opens the writer's connection anew and writes, to the database and to a file: OK when the disk
 * takes it. */
MUST_CHECK enum status store_begin_probe(struct store *store);

/* The number of a new batch; none comes twice. */
MUST_CHECK enum status store_begin_number(struct store_turn *turn, int64_t *number);

/* Everything goes home into the database; the mark is `closed`. What fails leaves it `open`. */
void store_begin_end(struct store *store);
