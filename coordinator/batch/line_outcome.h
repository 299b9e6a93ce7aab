/* What follows from how a line's attempt ended. Pure.
 *
 * ended                              then
 * with an answer                     committed
 * cut off by a drain, or never run   waits again, as if it had not been tried
 * its batch cancelled or expired     committed as such
 * for a reason of its own            committed as failed: it would fail again
 * with its worker group              waits again; after two such ends it runs alone, and if it has
 *                                    lost two groups and was alone on the last, it is set aside
 *                                    (POISON)
 * with numbers that are not finite   waits again, once
 * for another reason                 waits again, ATTEMPTS times in all
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/store_line.h"
#include "proto/status.h"

enum { LINE_OUTCOME_ATTEMPTS = 3, LINE_OUTCOME_LOSSES_IN_COMPANY = 2 };

struct line_end {
    enum status status; /* of its errand */
    const char *reason; /* of the details; NULL: none */
    bool cut_off;       /* it ended well, but only because the coordinator ends */
    bool ending;        /* the coordinator drains or ends */
    int stopped;        /* STORE_LINE_CANCELLED or _EXPIRED: its batch was; 0 */
    bool expired;       /* its batch's time has passed */
    bool alone;         /* no other line had a place when its group was lost */
    int64_t attempt;    /* this one, from 1 */
    int64_t losses;     /* worker groups that were lost with earlier ones */
    const char *cause;  /* of the attempt before; "": none */
};

enum line_outcome {
    LINE_OUTCOME_ANSWER,     /* commit the answer */
    LINE_OUTCOME_FAILURE,    /* commit the failure */
    LINE_OUTCOME_UNANSWERED, /* commit that its batch was cancelled or expired */
    LINE_OUTCOME_AGAIN       /* give it back */
};

struct line_decision {
    enum line_outcome outcome;
    enum store_line_state state; /* to commit */
    enum store_give_back how;    /* to give back */
    const char *cause;           /* a word for the next attempt to know */
    bool poison;                 /* it is set aside */
};

void line_outcome_decide(struct line_decision *decision, const struct line_end *end);

/* Whether its next attempt is to run alone. */
bool line_outcome_is_suspect(int64_t losses);
