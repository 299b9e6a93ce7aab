/* Owns nothing. */
#include "coordinator/batch/line_outcome.h"

#include <stddef.h>
#include <string.h>

static const char not_finite[] = "NON_FINITE_LOGITS";

static bool has_reason(const struct line_end *end, const char *reason)
{
    return end->reason && strcmp(end->reason, reason) == 0;
}

/* Nothing was tried: nobody had room for it, or the coordinator ends. */
static bool was_untried(const struct line_end *end)
{
    static const char *const reasons[] = {"DRAINING", "NO_WORKERS", "QUEUE_FULL", "QUOTA_EXCEEDED"};
    if (end->status == STATUS_OK)
        return end->cut_off;
    if (end->status == STATUS_CANCELLED && end->ending)
        return true;
    if (end->status == STATUS_ALREADY_EXISTS) /* a client has a request of its name */
        return true;
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (has_reason(end, reasons[i]))
            return true;
    return false;
}

static bool is_its_own_fault(enum status status)
{
    switch (status) {
    case STATUS_INVALID_ARGUMENT:
    case STATUS_NOT_FOUND:
    case STATUS_OUT_OF_RANGE:
    case STATUS_UNIMPLEMENTED:
    case STATUS_FAILED_PRECONDITION:
    case STATUS_CANCELLED: /* by its request's name */
    case STATUS_DEADLINE_EXCEEDED:
        return true;
    default:
        return false;
    }
}

static void set_failure(struct line_decision *decision)
{
    decision->outcome = LINE_OUTCOME_FAILURE;
    decision->state = STORE_LINE_FAILED;
}

static void set_again(struct line_decision *decision, enum store_give_back how, const char *cause)
{
    decision->outcome = LINE_OUTCOME_AGAIN;
    decision->how = how;
    decision->cause = cause;
}

static void decide_lost(struct line_decision *decision, const struct line_end *end)
{
    if (end->guilty) {
        set_failure(decision);
        decision->poison = true;
    } else {
        set_again(decision, STORE_GIVE_BACK_LOST, "WORKERS_LOST");
    }
}

/* Attempts that ended with their group say nothing of the line. */
static void decide_failed(struct line_decision *decision, const struct line_end *end)
{
    const bool infinite = has_reason(end, not_finite);
    const bool twice = infinite && strcmp(end->cause, not_finite) == 0;
    if (is_its_own_fault(end->status) || twice ||
        end->attempt - end->losses >= LINE_OUTCOME_ATTEMPTS)
        set_failure(decision);
    else
        set_again(decision, STORE_GIVE_BACK_FAILED,
                  infinite ? not_finite : status_name(end->status));
}

void line_outcome_decide(struct line_decision *decision, const struct line_end *end)
{
    *decision =
        (struct line_decision){.outcome = LINE_OUTCOME_ANSWER, .state = STORE_LINE_COMPLETED};
    if (end->status == STATUS_OK && !end->cut_off)
        return;
    const bool ended_early =
        end->status == STATUS_CANCELLED || end->status == STATUS_DEADLINE_EXCEEDED;
    if (end->stopped || (end->expired && ended_early)) {
        decision->outcome = LINE_OUTCOME_UNANSWERED;
        decision->state = end->stopped ? (enum store_line_state)end->stopped : STORE_LINE_EXPIRED;
    } else if (was_untried(end)) {
        set_again(decision, STORE_GIVE_BACK_UNTRIED, "");
    } else if (end->status == STATUS_UNAVAILABLE) {
        decide_lost(decision, end);
    } else {
        decide_failed(decision, end);
    }
}

bool line_outcome_is_loner(int64_t losses)
{
    return losses >= LINE_OUTCOME_LOSSES_IN_COMPANY;
}

bool line_outcome_may_begin(int64_t losses, const struct line_company *company)
{
    if (company->loner)
        return false;
    if (line_outcome_is_loner(losses))
        return company->running == 0;
    return losses == 0 || company->suspects == 0;
}
