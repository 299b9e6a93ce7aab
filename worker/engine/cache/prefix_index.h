/* Which full panels of prompts lie in the pool, for later prompts that begin alike: a forest whose
 * path from a root spells a prompt's ids, panel by panel. Pure, and alike on all ranks, since all
 * take the same turns: an entry says which rank owns its panel, and only there it has a slot.
 *
 * A root stands for what must be equal beside the ids: the tenant and the method, as text. An entry
 * has users, the sequences whose prompt it is part of; without any it may be evicted, the longest
 * unused first, ends before beginnings. What it holds of the pool is the caller's to hold and to
 * release.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/status.h"

struct prefix_index;

/* A panel of a prompt. */
struct prefix_panel {
    int owner;    /* the rank that has it */
    int64_t slot; /* its first there; -1 elsewhere */
    int64_t slots;
};

/* Of panels of all ranks. */
MUST_CHECK enum status prefix_index_create(struct prefix_index **index, int ranks);

/* Accepts NULL. */
void prefix_index_destroy(struct prefix_index *index);

/* The entries of ids [count] under `root`, from the first panel on, as many full ones as are there:
 * entries[p] is panel p's. Returns how many. `entries` has room for count / BANDS_LANES. */
int64_t prefix_index_find(const struct prefix_index *index, const char *root, const int32_t *ids,
                          int64_t count, int *entries);

/* Adds the panel with ids [BANDS_LANES] after entry `parent`, or as the first of a root (-1).
 * *added is false, and *entry the one that is there, where another prompt came first. */
MUST_CHECK enum status prefix_index_add(struct prefix_index *index, int *entry, bool *added,
                                        const char *root, int parent, const int32_t *ids,
                                        const struct prefix_panel *panel);

/* One user more, or less, of each of the entries. A use is the latest of all. */
void prefix_index_use(struct prefix_index *index, const int *entries, int64_t count);
void prefix_index_leave(struct prefix_index *index, const int *entries, int64_t count);

struct prefix_panel prefix_index_panel(const struct prefix_index *index, int entry);

/* A sequence's panel that another one may go on using: until it is let out, its slot is counted
 * with the sequence. */
void prefix_index_let_out(struct prefix_index *index, int entry);

/* Slots of entries that were let out, on the rank that has most: of all of them, and of those with
 * users. */
int64_t prefix_index_slots(const struct prefix_index *index, bool used);

/* Takes out the entry that was unused longest, let out and without users or entries after it; false
 * where there is none. */
bool prefix_index_evict(struct prefix_index *index, struct prefix_panel *panel);

/* The pool has been closed up: slot s is to[s] now. */
void prefix_index_renumber(struct prefix_index *index, const int64_t *to);
