/* Owns the sums over lines that are told once and not kept. */
#include "coordinator/batch/batch_estimate.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/line_check.h"
#include "coordinator/batch/line_splitter.h"
#include "coordinator/batch/panel_tally.h"
#include "coordinator/planner.h"

enum {
    PANELS_MAX = 1 << 23, /* half a billion tokens, in 151 MB */
    LENGTHS = 32,         /* that are forecast: LENGTH_FIRST, twice that, ... */
    LENGTH_FIRST = 64,
    WRONG_SHOWN = 5,
    TEXT_BYTES = 4096,
};

/* What a prompt of so many tokens takes by itself. */
struct forecast {
    bool made;
    double seconds, sent_bytes;
};

struct batch_estimate {
    struct line_request_tools tools;
    const struct errand_tools *errand;
    const char *tenant;
    struct line_splitter splitter;
    struct panel_tally *tally;
    char endpoint[STORE_ENDPOINT_BYTES];
    bool has_group;
    struct workers_facts facts;
    struct forecast forecasts[LENGTHS];
    int64_t lines, wrong, answer_tokens;
    int64_t longest_prompt, longest_answer; /* of the line that needs most context */
    double seconds, sent_bytes;
    char wrong_text[TEXT_BYTES];
    size_t wrong_bytes;
    char text[2 * TEXT_BYTES];
};

enum status batch_estimate_create(struct batch_estimate **estimate, struct store *store,
                                  const struct errand_tools *errand, const char *tenant)
{
    struct batch_estimate *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an estimate");
    made->tools = (struct line_request_tools){store, &errand->forms};
    made->errand = errand;
    made->tenant = tenant;
    made->has_group = workers_facts(errand->workers, &made->facts) == STATUS_OK;
    line_splitter_init(&made->splitter, OPENAI_BODY_BYTES_MAX, 0, 0);
    enum status status = panel_tally_create(&made->tally, PANELS_MAX);
    if (status != STATUS_OK) {
        batch_estimate_destroy(made);
        return status;
    }
    *estimate = made;
    return STATUS_OK;
}

void batch_estimate_destroy(struct batch_estimate *estimate)
{
    if (!estimate)
        return;
    line_splitter_deinit(&estimate->splitter);
    panel_tally_destroy(estimate->tally);
    free(estimate);
}

/* ---- seconds and bytes ---- */

static double pace_of(const struct workers_facts *facts)
{
    return facts->pace > 0 ? facts->pace : 1;
}

static enum status make_forecast(struct batch_estimate *estimate, struct forecast *forecast,
                                 int64_t tokens)
{
    const struct planner *planner = estimate->errand->planner;
    const int64_t context = planner->defaults.context_tokens;
    struct status_details details = {.reason = NULL};
    struct planner_forecast made;
    struct choice choice;
    /* Lengths past the context stand for what lies before them. */
    const int64_t length = context > 0 && tokens >= context ? context - 1 : tokens;
    const struct planner_request request = {NULL, length, 1, false};
    TRY(planner_choose(planner, &choice, &details, &estimate->facts, &request));
    TRY(planner_forecast(planner, &made, &choice, &estimate->facts, length, NULL));
    *forecast = (struct forecast){.made = true, .seconds = made.seconds};
    for (int rank = 0; rank < made.count; rank++)
        forecast->sent_bytes += (double)made.ranks[rank].sent_bytes;
    const double stretch = (double)tokens / (double)length;
    forecast->seconds *= stretch * pace_of(&estimate->facts);
    forecast->sent_bytes *= stretch;
    planner_forecast_deinit(&made);
    return STATUS_OK;
}

/* Of the first `tokens` of a prompt: between two lengths that were forecast, in proportion. */
static enum status cost_of(struct batch_estimate *estimate, struct forecast *cost, int64_t tokens)
{
    int i = 0;
    int64_t length = LENGTH_FIRST;
    *cost = (struct forecast){.made = true};
    if (tokens == 0)
        return STATUS_OK;
    for (; length < tokens && i + 1 < LENGTHS; length *= 2)
        i++;
    struct forecast *above = &estimate->forecasts[i];
    static const struct forecast nothing = {.made = true};
    const struct forecast *below = i > 0 ? &estimate->forecasts[i - 1] : &nothing;
    if (!above->made)
        TRY(make_forecast(estimate, above, length));
    if (i > 0 && !below->made)
        TRY(make_forecast(estimate, &estimate->forecasts[i - 1], length / 2));
    const int64_t before = i > 0 ? length / 2 : 0;
    const double share = (double)(tokens - before) / (double)(length - before);
    cost->seconds = below->seconds + share * (above->seconds - below->seconds);
    cost->sent_bytes = below->sent_bytes + share * (above->sent_bytes - below->sent_bytes);
    return STATUS_OK;
}

/* ---- lines ---- */

static enum status add_line(struct batch_estimate *estimate, const struct line_request *request)
{
    struct forecast whole, cached;
    int64_t cached_tokens = 0;
    const int64_t prompt = (int64_t)request->ids.count;
    const int64_t answer = line_request_answer_tokens(request);
    TRY(panel_tally_add(estimate->tally, &cached_tokens, &request->chain));
    estimate->answer_tokens += answer;
    if (prompt + answer > estimate->longest_prompt + estimate->longest_answer) {
        estimate->longest_prompt = prompt;
        estimate->longest_answer = answer;
    }
    if (!estimate->has_group)
        return STATUS_OK;
    TRY(cost_of(estimate, &whole, prompt));
    TRY(cost_of(estimate, &cached, cached_tokens));
    estimate->seconds += whole.seconds - cached.seconds;
    estimate->sent_bytes += whole.sent_bytes - cached.sent_bytes;
    return STATUS_OK;
}

static void add_wrong(struct batch_estimate *estimate, const struct split_line *line,
                      const char *sentence)
{
    if (estimate->wrong++ >= WRONG_SHOWN)
        return;
    const int wrote =
        snprintf(estimate->wrong_text + estimate->wrong_bytes, TEXT_BYTES - estimate->wrong_bytes,
                 "\nline %" PRId64 ": %.300s", line->number, sentence);
    estimate->wrong_bytes += wrote > 0 ? (size_t)wrote : 0;
    if (estimate->wrong_bytes >= TEXT_BYTES)
        estimate->wrong_bytes = TEXT_BYTES - 1;
}

static enum status take_line(void *context, const struct split_line *line)
{
    struct batch_estimate *estimate = context;
    struct line_request request;
    struct status_details details;
    enum status status = line_request_init(&request, &details, &estimate->tools, estimate->tenant,
                                           line->text, line->bytes);
    if (status == STATUS_OK)
        status = line_check_url(estimate->endpoint, &details, request.parts.url);
    estimate->lines++;
    if (status == STATUS_OK) {
        status = add_line(estimate, &request);
    } else if (line_request_is_wrong(status)) {
        add_wrong(estimate, line, status_message());
        status = STATUS_OK;
    }
    line_request_deinit(&request);
    return status;
}

enum status batch_estimate_feed(struct batch_estimate *estimate, const void *bytes, size_t count)
{
    return line_splitter_feed(&estimate->splitter, bytes, count, take_line, estimate);
}

/* ---- the end ---- */

/* Of the rank that needs most, for the longest line; and the answers' seconds, all places busy. */
static enum status add_longest(struct batch_estimate *estimate,
                               Longhaul__V1__BatchEstimate *message)
{
    const struct planner *planner = estimate->errand->planner;
    struct status_details details = {.reason = NULL};
    struct planner_forecast made;
    struct choice choice;
    const struct planner_request request = {NULL, estimate->longest_prompt,
                                            estimate->longest_answer, false};
    if (!estimate->has_group || estimate->longest_prompt == 0 ||
        planner_choose(planner, &choice, &details, &estimate->facts, &request) != STATUS_OK)
        return STATUS_OK;
    TRY(planner_forecast(planner, &made, &choice, &estimate->facts, estimate->longest_prompt,
                         NULL));
    for (int rank = 0; rank < made.count; rank++)
        if (made.ranks[rank].memory.total_bytes > message->memory_bytes)
            message->memory_bytes = made.ranks[rank].memory.total_bytes;
    planner_forecast_deinit(&made);
    const int64_t right = estimate->lines - estimate->wrong;
    const int64_t together = right < estimate->facts.places ? right : estimate->facts.places;
    const double step_seconds =
        planner_step_seconds(planner, &choice, &estimate->facts, estimate->longest_prompt);
    estimate->seconds += step_seconds * pace_of(&estimate->facts) *
                         (double)estimate->answer_tokens / (double)(together > 0 ? together : 1);
    return STATUS_OK;
}

static void write_text(struct batch_estimate *estimate, const Longhaul__V1__BatchEstimate *message)
{
    char costs[256] = "no worker group is ready: memory, seconds and bytes are not known";
    if (estimate->has_group)
        snprintf(costs, sizeof costs,
                 "about %.1f s; %.1f MB of memory on the fullest worker, %.1f MB sent between "
                 "workers",
                 message->seconds, (double)message->memory_bytes / 1e6,
                 (double)message->sent_bytes / 1e6);
    snprintf(estimate->text, sizeof estimate->text,
             "%" PRId64 " lines, %" PRId64 " of them invalid\n"
             "%" PRId64 " prompt tokens, %s%" PRId64 " of them to be read; answers of at most "
             "%" PRId64 "\n%s%s",
             message->lines, message->invalid_lines, message->prompt_tokens,
             panel_tally_is_full(estimate->tally) ? "at most " : "", message->unique_tokens,
             message->completion_tokens_max, costs, estimate->wrong_text);
}

enum status batch_estimate_end(struct batch_estimate *estimate,
                               Longhaul__V1__BatchEstimate *message)
{
    TRY(line_splitter_end(&estimate->splitter, take_line, estimate));
    longhaul__v1__batch_estimate__init(message);
    TRY(add_longest(estimate, message));
    message->lines = estimate->lines;
    message->invalid_lines = estimate->wrong;
    message->prompt_tokens = panel_tally_prompt_tokens(estimate->tally);
    message->unique_tokens = panel_tally_unique_tokens(estimate->tally);
    message->completion_tokens_max = estimate->answer_tokens;
    message->sent_bytes = (int64_t)(estimate->sent_bytes + 0.5);
    message->seconds = estimate->seconds;
    write_text(estimate, message);
    message->text = estimate->text;
    return STATUS_OK;
}
