/* Which panel of a sequence lies in which slots of this rank's pool. Pure: it says which records
 * are to be moved and cleared, and whoever asks does it, in every layer alike.
 *
 * A slot holds one record, of K or of V. A panel has consecutive slots: K in each key frame that
 * all keys are kept in, and V (kernels/attention.h). A panel's slot is the first of them.
 *
 * A sequence's own panels lie in one run of slots that is reserved for it when it comes, for the
 * most that it will ever have at a time; so it never waits for a slot. Within a prefill consecutive
 * panels of this rank are in consecutive slots: panels that are out of reach are dropped, and the
 * rest moves together. Decode puts each new panel where a dead one was. Panels at the start of a
 * sequence may instead be shared, in slots that others hold too: they never move for this
 * sequence's sake.
 *
 * Panels of sinks that every rank keeps come first in the run, with K in every key frame.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/partition.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_pool.h"

struct panel_table;

/* A copy of slot `from` to slot `to`, or, where `from` is -1, zeros. */
struct panel_move {
    int64_t from, to;
};

/* To be done in order, each with as many slots from there on. */
struct panel_moves {
    const struct panel_move *list;
    int64_t count;
    int64_t slots;
};

/* What the caller holds of the pool for the table: `slots` own slots from number `first` on, those
 * of sinks among them, and `shared` ascending panels of this rank. The lists are copied. */
struct panel_table_place {
    int64_t first, slots;
    int64_t panel_slots;                         /* of a panel */
    int64_t sink_panels, sink_slots;             /* panels of sinks, and slots of each */
    const int64_t *shared_panels, *shared_slots; /* [shared] */
    int64_t shared;
};

MUST_CHECK enum status panel_table_create(struct panel_table **table,
                                          const struct panel_table_place *place);

/* Drops the panels before index live_first, and lets go of what is reserved behind those that are
 * there: decode has not begun, and no panel comes any more. */
void panel_table_trim(struct panel_table *table, struct panel_moves *moves, struct panel_pool *pool,
                      int64_t live_first);

/* Lets go of all slots that were the table's, dropped panels' too. Accepts NULL. */
void panel_table_release(struct panel_table *table, struct panel_pool *pool);

/* Accepts NULL. */
void panel_table_destroy(struct panel_table *table);

/* Takes copies of panels in slots of others as the first own ones: panels[p], ascending, is in
 * slots[p]. For where panels must lie in a row. */
MUST_CHECK enum status panel_table_adopt(struct panel_table *table, struct panel_moves *moves,
                                         const int64_t *panels, const int64_t *slots,
                                         int64_t count);

/* Makes room for rank's panels of `stage` (the last tokens that `ownership` has dealt): panels
 * before index live_first are dropped, the rest moves together, new panels follow in order and are
 * zero where the stage does not fill them. INTERNAL when the plan gave too few slots. */
MUST_CHECK enum status panel_table_stage(struct panel_table *table, struct panel_moves *moves,
                                         const struct ownership *ownership, int rank,
                                         struct span stage, int64_t live_first);

/* Makes room for one more token, `index`, in a panel of this rank; its panel may be new. */
MUST_CHECK enum status panel_table_append(struct panel_table *table, struct panel_moves *moves,
                                          int64_t index, int64_t live_first);

/* Makes room for a panel of another rank's, wherever it stands among those that are there: what the
 * room holds is whatever lay there. Decode has not begun, and nothing is shared. */
MUST_CHECK enum status panel_table_take(struct panel_table *table, int64_t panel);

/* Drops the panels of tokens from index `tokens` on that decode has begun. */
void panel_table_retreat(struct panel_table *table, int64_t tokens);

/* Drops the panels before index live_first. */
void panel_table_drop(struct panel_table *table, int64_t live_first);

/* The slot of the panel that holds `index`. The panel is in the table. */
int64_t panel_table_slot(const struct panel_table *table, int64_t index);

/* Slots of a panel, and of a panel of sinks. */
int64_t panel_table_panel_slots(const struct panel_table *table);
int64_t panel_table_sink_slots(const struct panel_table *table);

/* The longest extent (consecutive panels in consecutive slots) from the panel of *index on, at most
 * to `end`: its first slot; moves *index to its end. */
int64_t panel_table_extent(const struct panel_table *table, int64_t *index, int64_t end);

/* The first slot of the sinks. */
int64_t panel_table_sinks(const struct panel_table *table);

/* The pool has been closed up: slot s is to[s] now. */
void panel_table_renumber(struct panel_table *table, const int64_t *to);
