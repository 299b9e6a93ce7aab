/* Owns the families that tell of requests. Promises that each request is counted once, by how it
 * ended, however many errands it takes: "rejected" is one that never had a place. */
#include "coordinator/errand_course.h"

#include <stdio.h>

#include "proto/clock.h"
#include "proto/metrics.h"

enum { RANK_BYTES = 16 };

static const char *const outcomes[] = {"stop",    "length", "scored",   "cancelled",
                                       "expired", "failed", "rejected", NULL};

static struct metrics_family requests = {.name = "longhaul_requests",
                                         .help = "Requests that have ended, by how.",
                                         .type = METRICS_COUNTER,
                                         .labels = {"outcome"},
                                         .words = outcomes};
static struct metrics_family prompt_tokens = {.name = "longhaul_prompt_tokens",
                                              .help =
                                                  "Tokens of prompts that were read, cached ones "
                                                  "included.",
                                              .type = METRICS_COUNTER};
static struct metrics_family cached_tokens = {
    .name = "longhaul_cached_tokens",
    .help = "Tokens of prompts whose keys were there from other requests.",
    .type = METRICS_COUNTER};
static struct metrics_family prefilled_tokens = {.name = "longhaul_prefilled_tokens",
                                                 .help = "Tokens of prompts whose keys were "
                                                         "computed.",
                                                 .type = METRICS_COUNTER};
static struct metrics_family drafted_tokens = {.name = "longhaul_drafted_tokens",
                                               .help = "Tokens of answers that were guessed.",
                                               .type = METRICS_COUNTER};
static struct metrics_family accepted_tokens = {.name = "longhaul_accepted_tokens",
                                                .help = "Tokens that were guessed and came true.",
                                                .type = METRICS_COUNTER};
static struct metrics_family generation_tokens = {
    .name = "longhaul_generation_tokens", .help = "Tokens of answers.", .type = METRICS_COUNTER};

#define SECONDS(row_name, text)                                                                    \
    {                                                                                              \
        .name = row_name, .help = text, .type = METRICS_HISTOGRAM, .bounds = metrics_seconds       \
    }
#define TOKENS(row_name, text)                                                                     \
    {                                                                                              \
        .name = row_name, .help = text, .type = METRICS_HISTOGRAM, .bounds = metrics_tokens        \
    }

static struct metrics_family first_token =
    SECONDS("longhaul_time_to_first_token_seconds", "From a request's arrival to its first token.");
static struct metrics_family token =
    SECONDS("longhaul_time_per_output_token_seconds", "Between two tokens of an answer, its mean.");
static struct metrics_family queue =
    SECONDS("longhaul_request_queue_seconds", "From a request's arrival to its place in a group.");
static struct metrics_family prefill =
    SECONDS("longhaul_request_prefill_seconds", "In which rank 0 read a prompt.");
static struct metrics_family decode =
    SECONDS("longhaul_request_decode_seconds", "In which rank 0 answered.");
static struct metrics_family duration =
    SECONDS("longhaul_request_duration_seconds", "From a request's arrival to its end.");
static struct metrics_family prompt_sizes =
    TOKENS("longhaul_request_prompt_tokens", "Tokens of a prompt.");
static struct metrics_family answer_sizes =
    TOKENS("longhaul_request_generation_tokens", "Tokens of an answer.");

static struct metrics_family step_seconds = {
    .name = "longhaul_worker_rank_step_seconds",
    .help = "A rank's arithmetic for one step of an answer, its mean. CPUs measure it.",
    .type = METRICS_HISTOGRAM,
    .labels = {"rank"},
    .bounds = metrics_seconds};
static struct metrics_family collective_seconds = {
    .name = "longhaul_collective_seconds",
    .help = "Of all ranks: exchange, from keys wanted to keys there, summed over blocks; wait, in "
            "which compute stood still for them.",
    .type = METRICS_COUNTER,
    .labels = {"op"},
    .words = (const char *const[]){"exchange", "wait", NULL}};
static struct metrics_family collective_bytes = {
    .name = "longhaul_collective_bytes",
    .help = "Payload between ranks, of all ranks.",
    .type = METRICS_COUNTER,
    .labels = {"op"},
    .words = (const char *const[]){"sent", "received", NULL}};

void errand_course_offer(void)
{
    struct metrics_family *const all[] = {
        &requests,
        &prompt_tokens,
        &cached_tokens,
        &prefilled_tokens,
        &generation_tokens,
        &drafted_tokens,
        &accepted_tokens,
        &first_token,
        &token,
        &queue,
        &prefill,
        &decode,
        &duration,
        &prompt_sizes,
        &answer_sizes,
        &step_seconds,
        &collective_seconds,
        &collective_bytes,
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        metrics_offer(all[i]);
}

void errand_course_begin(struct errand_course *course, bool is_score)
{
    *course = (struct errand_course){.is_score = is_score,
                                     .counts = ERRAND_COURSE_REQUEST | ERRAND_COURSE_TOKENS,
                                     .begun_ns = clock_now_ns()};
}

void errand_course_placed(struct errand_course *course, int64_t tokens)
{
    course->placed_ns = clock_now_ns();
    course->prompt_tokens = tokens;
}

void errand_course_tokens(struct errand_course *course)
{
    if (!course->first_ns)
        course->first_ns = clock_now_ns();
}

/* The first token of an answer is the prompt's, and each step makes one and the guesses that came
 * true; others' rows of a step are counted with it. */
static void observe_steps(int rank, const Longhaul__Control__V1__RankReport *report,
                          const struct group_outcome *outcome)
{
    char number[RANK_BYTES];
    const int64_t tokens = outcome->completion_tokens - 1;
    const int64_t steps = tokens > outcome->accepted_tokens ? tokens - outcome->accepted_tokens : 1;
    const double seconds = report->step_qkv_seconds + report->step_attend_seconds +
                           report->step_output_seconds + report->step_gate_seconds +
                           report->step_down_seconds + report->step_logits_seconds;
    if (tokens < 1 || seconds <= 0)
        return;
    snprintf(number, sizeof number, "%d", rank);
    metrics_observe(&step_seconds, seconds / (double)steps, number);
}

void errand_course_outcome(struct errand_course *course, const struct group_outcome *outcome,
                           Longhaul__V1__FinishReason reason)
{
    course->reason = reason;
    course->completion_tokens = outcome->completion_tokens;
    course->cached_tokens = outcome->cached_tokens;
    course->prefilled_tokens = outcome->prefilled_tokens;
    course->drafted_tokens = outcome->drafted_tokens;
    course->accepted_tokens = outcome->accepted_tokens;
    course->prefill_seconds = outcome->prefill_seconds;
    course->decode_seconds = outcome->decode_seconds;
    for (int rank = 0; rank < outcome->report_count; rank++) {
        const Longhaul__Control__V1__RankReport *report = &outcome->reports[rank].report;
        if (!outcome->reports[rank].done)
            continue;
        observe_steps(rank, report, outcome);
        metrics_add(&collective_seconds, report->exchange_seconds, "exchange");
        metrics_add(&collective_seconds, report->exchange_wait_seconds, "wait");
        metrics_add(&collective_bytes, (double)report->sent_bytes, "sent");
        metrics_add(&collective_bytes, (double)report->received_bytes, "received");
    }
}

const char *errand_course_outcome_word(const struct errand_course *course, enum status status)
{
    if (status == STATUS_CANCELLED)
        return "cancelled";
    if (status == STATUS_DEADLINE_EXCEEDED)
        return "expired";
    if (status != STATUS_OK)
        return course->placed_ns ? "failed" : "rejected";
    if (course->is_score)
        return "scored";
    switch (course->reason) {
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP:
        return "stop";
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED:
        return "cancelled";
    default:
        return "length";
    }
}

static double seconds(int64_t from_ns, int64_t to_ns)
{
    return 1e-9 * (double)(to_ns - from_ns);
}

static void count_answer(const struct errand_course *course)
{
    metrics_add(&prompt_tokens, (double)course->prompt_tokens);
    metrics_add(&cached_tokens, (double)course->cached_tokens);
    metrics_add(&prefilled_tokens, (double)course->prefilled_tokens);
    metrics_add(&generation_tokens, (double)course->completion_tokens);
    metrics_add(&drafted_tokens, (double)course->drafted_tokens);
    metrics_add(&accepted_tokens, (double)course->accepted_tokens);
    metrics_observe(&prompt_sizes, (double)course->prompt_tokens);
    metrics_observe(&prefill, course->prefill_seconds);
    if (course->is_score)
        return;
    metrics_observe(&answer_sizes, (double)course->completion_tokens);
    metrics_observe(&decode, course->decode_seconds);
    if (course->completion_tokens > 1)
        metrics_observe(&token, course->decode_seconds / (double)(course->completion_tokens - 1));
}

static void count_request(const struct errand_course *course, enum status status)
{
    metrics_add(&requests, 1, errand_course_outcome_word(course, status));
    metrics_observe(&duration, seconds(course->begun_ns, course->ended_ns));
    if (course->placed_ns)
        metrics_observe(&queue, seconds(course->begun_ns, course->placed_ns));
    if (course->first_ns)
        metrics_observe(&first_token, seconds(course->begun_ns, course->first_ns));
}

void errand_course_end(struct errand_course *course, enum status status)
{
    course->ended_ns = clock_now_ns();
    if (course->counts & ERRAND_COURSE_REQUEST)
        count_request(course, status);
    if (status == STATUS_OK && (course->counts & ERRAND_COURSE_TOKENS))
        count_answer(course);
}
