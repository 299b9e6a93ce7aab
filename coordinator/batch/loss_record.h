/* What losses of worker groups say against the lines that they happened to.
 *
 * A group that is lost with a line is lost because of it, or by chance. How often chance does that
 * is seen from the losses of late that are not the line's; where there were none, it is taken for
 * once a day. A loss then says -log2 of the chance that a group is lost anyway in the time that the
 * line ran: where a group is lost every second next to nothing, where no other was lost so much
 * that two are enough, and where one was, three. Pure: the caller has the clock. Not for several
 * threads at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct loss_record;

MUST_CHECK enum status loss_record_create(struct loss_record **record);

/* Accepts NULL. */
void loss_record_destroy(struct loss_record *record);

/* The groups that serve now, by a digest of their name; those of the last look that are gone were
 * lost. `seconds` since the last look. */
void loss_record_look(struct loss_record *record, const uint64_t *groups, int count,
                      double seconds);

/* A line's loss. */
struct loss_charge {
    int64_t batch, line;
    uint64_t group;
    double seconds;  /* that the line was there */
    int64_t losses;  /* that it had before */
    bool in_company; /* something else was in the group */
};

/* Charges the loss to the line where nothing else in the group is under suspicion. Returns whether
 * it is to be set aside: it was alone, and chance would do so much once in a million cases. A loss
 * in company never decides: that may have been the first of another line's. */
bool loss_record_charge(struct loss_record *record, const struct loss_charge *charge);

/* Whether the line is to wait, while others run, until it is seen whether groups are lost without
 * it, too: some seconds of one that serves. */
bool loss_record_rests(struct loss_record *record, int64_t batch, int64_t line);

/* The line has ended. */
void loss_record_forget(struct loss_record *record, int64_t batch, int64_t line);
