/* What the stages of a prompt cost every rank, counted without making their lists.
 *
 * A stage's schedule names every block of keys that is still seen, so the schedules of all stages
 * grow with the square of a prompt's length. The sums do not need them: pairs have a closed form,
 * and blocks that all queries of a stage see whole are counted once, owner by owner, when they come
 * and when they go.
 */
#pragma once

#include "proto/plan/choice.h"
#include "proto/plan/partition.h"
#include "proto/plan/schedule.h"
#include "proto/status.h"

struct tally;

/* Borrows `choice`, until tally_restart gives another one, and `ownership`, whose stages it is told
 * one after the other from an empty ownership on. */
MUST_CHECK enum status tally_create(struct tally **tally, const struct choice *choice,
                                    const struct ownership *ownership);
void tally_destroy(struct tally *tally);

/* The ownership was cleared: starts again, perhaps for another choice of as many workers. */
void tally_restart(struct tally *tally, const struct choice *choice);

/* Restarted, it counts by this table in place of the choice's: what some layers or heads see. */
void tally_see(struct tally *tally, const struct bands *bands);

/* Sets the sums of every rank of `schedule` (rows, pairs, edges, receive_count, receive_tokens,
 * send_tokens) and its stage to what schedule_make would; the lists stay as they are. `stage` is
 * the last one that the ownership was dealt. */
MUST_CHECK enum status tally_stage(struct tally *tally, struct schedule *schedule,
                                   struct span stage);
