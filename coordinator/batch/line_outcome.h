/* What follows from how a line's attempt ended. Pure.
 *
 * ended                              then
 * with an answer                     committed
 * cut off by a drain, or never run   waits again, as if it had not been tried
 * its batch cancelled or expired     committed as such
 * for a reason of its own            committed as failed: it would fail again
 * with its worker group              waits again, with fewer beside it (line_outcome_may_begin); if
 *                                    it was alone and what was lost with it is too much for chance
 *                                    (loss_record.h), it is set aside (POISON)
 * with numbers that are not finite   waits again, once
 * for another reason                 waits again, ATTEMPTS times in all
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/store_line.h"
#include "proto/status.h"

enum { LINE_OUTCOME_ATTEMPTS = 3, LINE_OUTCOME_LOSSES_IN_COMPANY = 2 };

/* The lines that run. */
struct line_company {
    int running;
    int suspects; /* of them: those that have lost a group */
    bool loner;   /* one of them runs alone */
};

struct line_end {
    enum status status; /* of its errand */
    const char *reason; /* of the details; NULL: none */
    bool cut_off;       /* it ended well, but only because the coordinator ends */
    bool ending;        /* the coordinator drains or ends */
    int stopped;        /* STORE_LINE_CANCELLED or _EXPIRED: its batch was; 0 */
    bool expired;       /* its batch's time has passed */
    bool guilty;        /* its group was lost while it was alone, and chance is ruled out */
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
bool line_outcome_is_loner(int64_t losses);

/* Whether a line that has lost so many groups may begin beside those that run: of lines that have
 * lost one group one at a time, so that a second loss tells them apart; one that has lost two
 * alone. */
bool line_outcome_may_begin(int64_t losses, const struct line_company *company);
