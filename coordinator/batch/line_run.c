/* Owns one attempt. Promises that what it learned is in the store, or that the line waits there
 * again, before the attempt is over; only a coordinator that ends gives that up: then the lease
 * ends with the process. */
#include "coordinator/batch/line_run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/batch/line_outcome.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/metrics.h"

enum {
    NAME_BYTES = 40,
    STORE_AGAIN_MS = 500,
    SAME_PRIORITY_AS_CALLS = 50, /* the priority at which a batch stands beside Generate calls */
    PRIORITY_MOST = 100,
};

static const char *const ends[] = {"answered",  "lost",    "not_finite", "failed", "poison",
                                   "cancelled", "expired", "untried",    NULL};

static struct metrics_family attempts = {
    .name = "longhaul_attempts",
    .help = "Attempts at lines of batches, by how they ended.",
    .type = METRICS_COUNTER,
    .labels = {"reason"},
    .words = ends,
};

/* The line as its errand's client. */
struct attempt {
    struct line_run *line;
    const struct line_run_tools *tools;
    struct openai_answer *answer;
    struct status_details details;
    bool read; /* the prompt is read */
};

static void note_read(struct attempt *attempt)
{
    if (!attempt->read)
        attempt->tools->read(attempt->tools->context, attempt->line);
    attempt->read = true;
}

static enum status post(void *context, const ProtobufCMessage *message)
{
    struct attempt *attempt = context;
    const Longhaul__V1__GenerateResponse *event = (const void *)message;
    if (event->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED)
        attempt->tools->placed(attempt->tools->context, attempt->line);
    if (event->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS ||
        event->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED)
        note_read(attempt);
    return openai_answer_take(attempt->answer, event);
}

static bool has_room(void *context, int64_t timeout_ms)
{
    (void)context;
    (void)timeout_ms;
    return true;
}

static int64_t stalled_ms(void *context)
{
    (void)context;
    return 0;
}

static bool left(void *context)
{
    const struct attempt *attempt = context;
    return atomic_load(&attempt->line->stopped) != 0;
}

static void end(void *context)
{
    (void)context;
}

static void note(void *context, struct log_field field)
{
    (void)context;
    (void)field;
}

static const struct errand_client_row row = {
    .post = post,
    .has_room = has_room,
    .stalled_ms = stalled_ms,
    .left = left,
    .end = end,
    .note = note,
};

/* ---- the errand ---- */

static int priority_of(const struct line_run *line)
{
    const int priority = line->priority - SAME_PRIORITY_AS_CALLS;
    return priority < -PRIORITY_MOST ? -PRIORITY_MOST : priority;
}

static enum status ask(struct attempt *attempt)
{
    struct line_run *line = attempt->line;
    const struct line_run_tools *tools = attempt->tools;
    char name[NAME_BYTES];
    if (line->wrong != STATUS_OK) {
        attempt->details = line->details;
        return fail(line->wrong, "%s", line->sentence);
    }
    const struct openai_answer_facts facts = {
        .form = line->request.openai->form,
        .answers = line->request.openai->generate->answers,
        .model = line->request.openai->model,
        .created_s = store_now_us(tools->store) / 1000000,
        .tokenizer = tools->errand->forms.tokenizer,
    };
    const int64_t left_us = line->expires_us - store_now_us(tools->store);
    const struct errand_client client = {
        .row = &row,
        .context = attempt,
        .details = &attempt->details,
        .deadline_ns = clock_now_ns() + (left_us > 0 ? left_us * 1000 : 0),
        .tenant = line->tenant,
        .priority = priority_of(line),
        .prompt_ids = &line->request.ids,
    };
    TRY(openai_answer_create(&attempt->answer, &facts));
    snprintf(name, sizeof name, "b%" PRId64 ".%" PRId64, line->batch, line->line);
    line->request.openai->generate->request_id = name;
    enum status status = errand_generate(&client, tools->errand, line->request.openai->generate);
    line->request.openai->generate->request_id = (char *)protobuf_c_empty_string;
    return status;
}

/* ---- its end ---- */

static void pause_ms(int64_t ms)
{
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&wait, NULL);
}

static enum status make_result(struct line_result *result, const struct attempt *attempt,
                               const struct line_decision *decision, enum status status,
                               const char *sentence)
{
    const struct line_run *line = attempt->line;
    const struct line_result_name name = {line->batch_id, line->line, line->custom_id};
    char poison[LINE_RUN_SENTENCE_BYTES + 192];
    if (decision->outcome == LINE_OUTCOME_ANSWER)
        return line_result_answer(result, &name, attempt->answer);
    if (decision->outcome == LINE_OUTCOME_UNANSWERED)
        return line_result_unanswered(result, &name, decision->state);
    if (!decision->poison)
        return line_result_failure(result, &name, status, &attempt->details, sentence);
    const struct status_details details = {.reason = "POISON"};
    snprintf(poison, sizeof poison,
             "set aside: %" PRId64 " worker groups were lost with it, the last one while nothing "
             "else ran, more often than groups are lost without it; %s",
             line->losses + 1, sentence);
    return line_result_failure(result, &name, STATUS_INTERNAL, &details, poison);
}

static enum status commit(const struct attempt *attempt, const struct line_decision *decision,
                          const struct line_result *made)
{
    const struct line_run *line = attempt->line;
    struct store_result result = {
        .batch = line->batch,
        .line = line->line,
        .epoch = line->epoch,
        .state = decision->state,
        .status_code = made->status_code,
        .body = made->json,
        .body_bytes = made->bytes,
    };
    if (decision->outcome == LINE_OUTCOME_ANSWER) {
        const Longhaul__V1__Usage *usage = openai_answer_usage(attempt->answer);
        result.usage = (struct store_usage){usage->prompt_tokens, usage->cached_tokens,
                                            usage->prefilled_tokens, usage->completion_tokens};
    }
    return store_line_commit(attempt->tools->store, line->tenant, &result);
}

/* Until the store has it: what was computed waits here while its disk is full. */
static void write_down(const struct attempt *attempt, const struct line_decision *decision,
                       const struct line_result *made)
{
    const struct line_run *line = attempt->line;
    const struct line_run_tools *tools = attempt->tools;
    for (;;) {
        const enum status status =
            decision->outcome == LINE_OUTCOME_AGAIN
                ? store_line_give_back(tools->store, line->tenant, line->batch, line->line,
                                       line->epoch, decision->how, decision->cause)
                : commit(attempt, decision, made);
        if (status == STATUS_OK)
            return;
        log_line(LOG_WARN, "line not written", log_integer("line", line->line),
                 log_text("why", status_message()));
        const bool later = status == STATUS_UNAVAILABLE || status == STATUS_RESOURCE_EXHAUSTED ||
                           status == STATUS_IO;
        if (!later || atomic_load(&tools->errand->stopping))
            return; /* somebody else has it, or it waits again when the store is opened */
        pause_ms(STORE_AGAIN_MS);
    }
}

static const char *word_of(const struct line_decision *decision, const char *reason)
{
    if (decision->outcome == LINE_OUTCOME_ANSWER)
        return "answered";
    if (decision->outcome == LINE_OUTCOME_UNANSWERED)
        return decision->state == STORE_LINE_EXPIRED ? "expired" : "cancelled";
    if (decision->poison)
        return "poison";
    if (decision->outcome == LINE_OUTCOME_AGAIN && decision->how == STORE_GIVE_BACK_LOST)
        return "lost";
    if (decision->outcome == LINE_OUTCOME_AGAIN && decision->how == STORE_GIVE_BACK_UNTRIED)
        return "untried";
    return reason && strcmp(reason, "NON_FINITE_LOGITS") == 0 ? "not_finite" : "failed";
}

static void log_attempt(const struct line_run *line, const struct line_decision *decision,
                        enum status status, const char *sentence)
{
    const bool again = decision->outcome == LINE_OUTCOME_AGAIN;
    const bool fine = decision->outcome == LINE_OUTCOME_ANSWER ||
                      decision->outcome == LINE_OUTCOME_UNANSWERED ||
                      (again && decision->how == STORE_GIVE_BACK_UNTRIED);
    log_line(fine ? LOG_DEBUG : LOG_WARN, "line ended", log_integer("line", line->line),
             log_integer("attempt", line->attempt), log_text("code", status_name(status)),
             log_text("again", again ? "yes" : "no"), log_integer("losses", line->losses),
             log_text("why", status == STATUS_OK ? "" : sentence));
}

/* The group that a request was lost with; NULL: none. */
static const char *lost_group(const struct status_details *details)
{
    for (int i = 0; i < details->fact_count; i++)
        if (strcmp(details->facts[i].key, "group_id") == 0)
            return details->facts[i].value;
    return NULL;
}

void line_run_attempt(struct line_run *line, const struct line_run_tools *tools, bool *untried)
{
    struct attempt attempt = {.line = line, .tools = tools};
    struct line_result result = {.json = NULL};
    struct line_decision decision;
    char sentence[LINE_RUN_SENTENCE_BYTES];
    log_batch(line->batch_id);
    enum status status = ask(&attempt);
    snprintf(sentence, sizeof sentence, "%s", status == STATUS_OK ? "" : status_message());
    log_request(NULL);
    const char *lost = status == STATUS_UNAVAILABLE ? lost_group(&attempt.details) : NULL;
    const bool guilty = lost && tools->lost(tools->context, line, lost);
    tools->left(tools->context, line);
    const struct line_end how = {
        .status = status,
        .reason = attempt.details.reason,
        .cut_off = status == STATUS_OK && openai_answer_reason(attempt.answer) ==
                                              LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED,
        .ending = atomic_load(&tools->errand->draining) || atomic_load(&tools->errand->stopping),
        .stopped = atomic_load(&line->stopped),
        .expired = store_now_us(tools->store) >= line->expires_us,
        .guilty = guilty,
        .attempt = line->attempt,
        .losses = line->losses,
        .cause = line->cause,
    };
    line_outcome_decide(&decision, &how);
    if (decision.outcome != LINE_OUTCOME_AGAIN &&
        make_result(&result, &attempt, &decision, status, sentence) != STATUS_OK)
        decision = (struct line_decision){.outcome = LINE_OUTCOME_AGAIN,
                                          .how = STORE_GIVE_BACK_UNTRIED,
                                          .cause = ""}; /* no memory for it now */
    log_attempt(line, &decision, status, sentence);
    metrics_add(&attempts, 1, word_of(&decision, attempt.details.reason));
    write_down(&attempt, &decision, &result);
    if (decision.outcome != LINE_OUTCOME_AGAIN)
        tools->over(tools->context, line);
    log_batch(NULL);
    *untried = decision.outcome == LINE_OUTCOME_AGAIN && decision.how == STORE_GIVE_BACK_UNTRIED;
    line_result_deinit(&result);
    openai_answer_destroy(attempt.answer);
}

enum status line_run_prepare(struct line_run *line, const struct line_request_tools *tools)
{
    size_t bytes = 0;
    if (line->text)
        return STATUS_OK;
    enum status status = store_line_read_text(tools->store, line->tenant, line->batch, line->line,
                                              &line->text, &bytes);
    if (status == STATUS_OK)
        status = line_request_init(&line->request, &line->details, tools, line->tenant, line->text,
                                   bytes);
    if (status == STATUS_OK || !line_request_is_wrong(status))
        return status;
    line->wrong = status;
    snprintf(line->sentence, sizeof line->sentence, "%s", status_message());
    return STATUS_OK;
}

void line_run_offer(void)
{
    metrics_offer(&attempts);
}

void line_run_free(struct line_run *line)
{
    if (!line)
        return;
    line_request_deinit(&line->request);
    free(line->text);
    free(line);
}
