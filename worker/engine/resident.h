/* What stays of a request after its end: its tokens, who owns them, and their panels, for requests
 * that go on from there. All ranks have the same residents.
 *
 *   here     --it is let go of (residents_let_go)-->        leaving
 *   leaving  --its last user ends (residents_leave)-->      gone
 *
 * A resident without users is gone at once.
 *
 * A request that goes on from a resident shares its whole panels where they lie. It copies the last
 * one, which it fills, or writes again. Where a method forgets keys, or keeps sinks, or one rank is
 * to have all keys, it copies what is alive of all panels.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/choice.h"
#include "proto/plan/memory_plan.h"
#include "proto/plan/partition.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_pool.h"
#include "worker/engine/cache/panel_table.h"
#include "worker/engine/engine.h"
#include "worker/engine/sequence.h"

struct resident {
    uint64_t number; /* the request's that left it */
    struct choice choice;
    char *tenant;
    int32_t *ids; /* [count] */
    int64_t count;
    int64_t reach, sinks; /* as struct sequence knows them */
    struct ownership *ownership;
    struct panel_table *panels;
    int64_t slots_held; /* on the rank that holds most */
    int users;          /* sequences that went on from it */
    bool leaving;
};

/* All that are here or leaving, in the order in which they came. */
struct residents {
    struct resident **list; /* [count] */
    int count, room;
};

void residents_deinit(struct residents *residents);

/* The one of this number that is here; NULL: there is none. */
struct resident *residents_find(const struct residents *residents, uint64_t number);

/* Takes over the sequence's ownership and panels; the sequence has none from then on. */
MUST_CHECK enum status residents_add(struct residents *residents, struct resident **added,
                                     struct sequence *sequence);

/* Both give back the slots that its end frees, on the rank that holds most; 0: it has not ended. */
int64_t residents_let_go(struct residents *residents, struct panel_pool *pool, uint64_t number);
int64_t residents_leave(struct residents *residents, struct panel_pool *pool,
                        struct resident *resident);

/* Refuses a request that does not go on from its resident, which may be NULL. */
MUST_CHECK enum status resident_check(const struct resident *resident, const struct choice *choice,
                                      const struct engine_request *request);

/* The resident's tokens that a request begins with and does not pass again: but its own last token,
 * and the one that its first score follows from, it passes. */
int64_t resident_reused(const struct resident *resident, const struct engine_request *request);

/* Whether a request of this choice shares whole panels; else it copies. */
bool resident_is_shared(const struct resident *resident, const struct choice *choice);

/* What a request that goes on from the resident needs of every rank; NULL: from nothing. */
MUST_CHECK enum status resident_needs(struct memory_need *needs, const struct choice *choice,
                                      const struct resident *resident,
                                      const struct engine_request *request);

/* This rank's panels of the tokens `within`: panels[p], ascending, is in slots[p]. Both have room
 * for all panels of the span; returns how many there are. */
int64_t resident_panels(const struct resident *resident, int rank, struct span within,
                        int64_t *panels, int64_t *slots);
