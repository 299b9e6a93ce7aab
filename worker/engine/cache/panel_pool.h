/* A rank's slots for records: which are taken, and by how many. Pure: it knows numbers of
 * slots, not their memory, which is [layers][slots] records and alike in all layers.
 *
 * Slots are taken in runs, so that consecutive panels of a sequence are one extent. A slot may have
 * several holders, who only read it; it is free when the last one has released it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct panel_pool;

MUST_CHECK enum status panel_pool_create(struct panel_pool **pool, int64_t slots);

/* Accepts NULL. */
void panel_pool_destroy(struct panel_pool *pool);

int64_t panel_pool_slots(const struct panel_pool *pool);
int64_t panel_pool_free(const struct panel_pool *pool);

/* For tests: the holders of a slot; 0: it is free. */
int panel_pool_holders(const struct panel_pool *pool, int64_t slot);

/* Takes `count` consecutive slots, with one holder each, the lowest that there are: *first is the
 * first one's number. False when no free run is so long; panel_pool_close_up makes one, where
 * enough are free. */
bool panel_pool_take(struct panel_pool *pool, int64_t *first, int64_t count);

/* One holder more, or one less, of each of the slots [first, first + count). */
void panel_pool_hold(struct panel_pool *pool, int64_t first, int64_t count);
void panel_pool_release(struct panel_pool *pool, int64_t first, int64_t count);

/* Renumbers slots so that `count` free ones, of at least so many, lie in a row, where that moves
 * fewest: to[s] is the new number of slot s, -1 of a free one. Records must move with them, in
 * ascending order of s: no record moves up, so none is overwritten before it has moved. Consecutive
 * slots stay consecutive. */
void panel_pool_close_up(struct panel_pool *pool, int64_t count, int64_t *to);
