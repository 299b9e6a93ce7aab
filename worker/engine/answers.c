/* Owns nothing: the sequence of a step, from tokens to verdicts. */
#include "worker/engine/answers.h"

#include "worker/engine/account.h"
#include "worker/engine/next_id.h"

bool answers_came_true(const struct verdict *verdict, const int32_t *drafts, int64_t drafted,
                       int64_t ahead)
{
    return verdict->status == STATUS_OK && ahead < drafted && verdict->token == drafts[ahead];
}

/* Rank 0: decides on the rows of a part, from at->row on, as far as what was drafted comes true. */
static enum status decide_part(struct forward *forward, const struct forward_part *part,
                               struct next_id_logits *at, struct verdict *verdicts,
                               struct logprobs *logprobs)
{
    const struct sequence *sequence = part->sequence;
    const int64_t drafted = part->rows - 1;
    const int32_t *drafts = sequence->ids + sequence->passed - drafted;
    bool goes_on = true;
    for (at->ahead = 0; goes_on; at->ahead++, at->row++) {
        struct verdict *verdict = &verdicts[at->row];
        TRY(next_id_decide(forward, part->sequence, at, verdict, &logprobs[at->row]));
        goes_on = !verdict->stop && answers_came_true(verdict, drafts, drafted, at->ahead);
    }
    at->row += part->rows - at->ahead;
    return STATUS_OK;
}

enum status answers_step(struct forward *forward, const struct forward_part *parts, int count,
                         struct verdict *verdicts, struct logprobs *logprobs)
{
    struct next_id_logits at = {0};
    struct account account;
    struct trace *trace = forward->device->trace;
    const int64_t begin_ns = trace_now(trace);
    int64_t rows = 0;
    for (int p = 0; p < count; p++)
        rows += parts[p].rows;
    account_open(&account, forward);
    TRY(forward_step(forward, parts, count));
    TRY(forward_step_logits(forward, &at.gathered, 0, rows));
    trace_span(trace, TRACE_STEP, -1, begin_ns, 0);
    for (int p = 0; p < count; p++) {
        struct engine_result *result = &parts[p].sequence->result;
        account_close(&account, forward, result, parts[p].rows, rows);
        account_predict_tokens(forward, parts[p].sequence, result, parts[p].rows, rows);
    }
    for (int p = 0; forward->world->rank == 0 && p < count; p++)
        TRY(decide_part(forward, &parts[p], &at, verdicts, logprobs));
    return STATUS_OK;
}
