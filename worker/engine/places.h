/* Where the sequences of a rank lie: its pool of panels and its arenas of ids, scores, samplers and
 * drafts, made once for the group's choice. A sequence gets a place when it comes, for the most
 * that it will ever need, and gives it back when it goes; nothing is allocated in between.
 *
 * Full panels of prompts stay, where a request allows it, for requests of the same tenant and
 * method whose prompt begins alike: one worker's sequences read them where they lie, those of
 * several copy them, since what travels must lie in a row, and share whole stages. Only panels of
 * stages with sharded queries are shared: their bits do not depend on who computed them. Those that
 * nobody uses go when room is needed. All ranks count alike, by the rank that holds most, so each
 * knows what the others have.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/memory_plan.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_pool.h"
#include "worker/engine/cache/prefix_index.h"
#include "worker/engine/device/device.h"
#include "worker/engine/resident.h"
#include "worker/engine/score.h"
#include "worker/engine/sequence.h"

struct places {
    struct device *device;
    int rank;
    struct memory_plan plan;
    struct panel_pool *pool;
    struct prefix_index *prefixes;
    struct arena *ids_arena;
    struct arena *scores_arena;
    struct arena *samplers_arena;
    struct arena *drafts_arena;
    int32_t *ids; /* [sequences, context] */
    struct score_place scores;
    char *samplers; /* rank 0: [sequences] */
    char *drafts;   /* rank 0: [sequences] */
    struct residents residents;
    int64_t slots_held;  /* by all sequences and residents, on the rank that holds most of each */
    int64_t *renumbered; /* [pool_slots] */
    struct sequence *sequences[CHOICE_SEQUENCES_MAX]; /* by place; NULL: free */
};

/* `device` is prepared for its group. */
MUST_CHECK enum status places_init(struct places *places, struct device *device,
                                   const struct memory_plan *plan, int rank);
void places_deinit(struct places *places);

/* Slots that a request of at most the group's context holds on the rank where it holds most: what
 * ranks count by, so that all of them have room where one has. */
MUST_CHECK enum status places_slots(const struct places *places, int64_t *slots,
                                    const struct engine_request *request);

/* Adds the slots of a request that begins in the same turn as another: where several ranks copy
 * prefixes they leave them alone. */
MUST_CHECK enum status places_promise(const struct places *places, int64_t *promised,
                                      const struct engine_request *request);

/* Refuses what some rank will never have room for, with the numbers, and what goes on from a
 * resident that is not there or not its own: alike on all ranks. */
MUST_CHECK enum status places_check(const struct places *places, const struct choice *choice,
                                    const struct engine_request *request);

/* What is promised to sequences that have not begun. */
struct places_promised {
    int sequences;
    int64_t slots;
};

/* Whether there is room for one more sequence of so many slots, which then is promised too. */
bool places_fit(const struct places *places, int64_t slots, struct places_promised *promised);

/* Makes room on this rank, moving all panels together where it must, and begins the sequence there.
 * The choice has been checked, and there is room (places_fit): a failure is the rank's. */
MUST_CHECK enum status places_begin(struct places *places, struct sequence *sequence,
                                    const struct sequence_start *start);

/* Once its prompt's last logits have been judged, and are finite on every device: leaves the
 * prompt's full panels to later ones that begin alike, where it is asked to. They stay in the pool
 * until their slots are needed. */
MUST_CHECK enum status places_keep_prefix(struct places *places, struct sequence *sequence);

/* Once its prompt's last stage has been settled: leaves its tokens as a resident, with what they
 * need of the pool and no more. */
MUST_CHECK enum status places_stay(struct places *places, struct sequence *sequence);

/* The resident of this number goes, or does with the last sequence that goes on from it. */
void places_let_go(struct places *places, uint64_t number);

/* For tests: lets go of all prefixes that no sequence uses. */
void places_forget_prefixes(struct places *places);

/* Ends it, and gives its place back. */
void places_end(struct places *places, struct sequence *sequence);
