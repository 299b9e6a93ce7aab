/* Owns nothing. Promises that the events of both kinds of call are built in one place, and that a
 * call's client is told of progress no more often than it can use. */
#include "coordinator/stream.h"

#include <stdlib.h>

#include "coordinator/report_message.h"
#include "proto/clock.h"

#define PROGRESS_NS 200000000

enum { TRACE_ROOM_MS = 1000 }; /* for a client to take some before it is told more */

/* The numbers of the oneof's members, the same in both responses. */
enum event {
    EVENT_QUEUED = 2,
    EVENT_PLANNED = 3,
    EVENT_PROGRESS = 4,
    EVENT_PART = 5,
    EVENT_FINISHED = 6,
    EVENT_TRACE = 7 /* of Generate alone */
};

_Static_assert((int)LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED == EVENT_QUEUED &&
                   (int)LONGHAUL__V1__SCORE_RESPONSE__EVENT_QUEUED == EVENT_QUEUED &&
                   (int)LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS == EVENT_PART &&
                   (int)LONGHAUL__V1__SCORE_RESPONSE__EVENT_SCORES == EVENT_PART &&
                   (int)LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED == EVENT_FINISHED &&
                   (int)LONGHAUL__V1__SCORE_RESPONSE__EVENT_FINISHED == EVENT_FINISHED,
               "both responses number their events alike");

/* `body` is the event's message; every member of the oneof is a pointer to one. */
static enum status tell(struct stream *stream, enum event event, void *body)
{
    if (stream->is_score) {
        Longhaul__V1__ScoreResponse response = LONGHAUL__V1__SCORE_RESPONSE__INIT;
        response.request_id = (char *)stream->request_id;
        response.event_case = (Longhaul__V1__ScoreResponse__EventCase)event;
        response.queued = body;
        return errand_client_post(stream->client, &response.base);
    }
    Longhaul__V1__GenerateResponse response = LONGHAUL__V1__GENERATE_RESPONSE__INIT;
    response.request_id = (char *)stream->request_id;
    response.event_case = (Longhaul__V1__GenerateResponse__EventCase)event;
    response.queued = body;
    return errand_client_post(stream->client, &response.base);
}

enum status stream_queued(struct stream *stream, const struct stream_place *place)
{
    Longhaul__V1__Queued queued = LONGHAUL__V1__QUEUED__INIT;
    queued.ahead = place->ahead;
    queued.waiting_for_workers = place->waiting_for_workers;
    return tell(stream, EVENT_QUEUED, &queued);
}

enum status stream_planned(struct stream *stream, Longhaul__V1__PlanSummary *plan)
{
    return tell(stream, EVENT_PLANNED, plan);
}

enum status stream_progress(struct stream *stream, int64_t done, int64_t total)
{
    int64_t now_ns = clock_now_ns();
    if (done == stream->tokens_told)
        return STATUS_OK;
    if (done < total && now_ns - stream->progress_ns < PROGRESS_NS)
        return STATUS_OK;
    stream->progress_ns = now_ns;
    stream->tokens_told = done;
    Longhaul__V1__Progress progress = LONGHAUL__V1__PROGRESS__INIT;
    progress.tokens_done = done;
    progress.tokens_total = total;
    progress.tokens_per_second = (double)done / clock_seconds_since(stream->prefill_ns);
    return tell(stream, EVENT_PROGRESS, &progress);
}

/* One token's log-probabilities with their storage. */
struct logprobs_message {
    Longhaul__V1__TokenLogprobs message;
    Longhaul__V1__LikelyToken likeliest[SAMPLING_LIKELIEST_MAX];
    Longhaul__V1__LikelyToken *pointers[SAMPLING_LIKELIEST_MAX];
};

static void set_logprobs(struct logprobs_message *message, const struct group_logprobs *logprobs,
                         int likeliest)
{
    longhaul__v1__token_logprobs__init(&message->message);
    message->message.logprob = logprobs->chosen;
    message->message.n_likeliest = (size_t)likeliest;
    message->message.likeliest = message->pointers;
    for (int n = 0; n < likeliest; n++) {
        longhaul__v1__likely_token__init(&message->likeliest[n]);
        message->likeliest[n].id = logprobs->ids[n];
        message->likeliest[n].logprob = logprobs->likeliest[n];
        message->pointers[n] = &message->likeliest[n];
    }
}

enum status stream_tokens(struct stream *stream, const char *text, const int32_t *ids,
                          const struct group_logprobs *logprobs, size_t id_count, int likeliest)
{
    if (!text[0] && id_count == 0)
        return STATUS_OK;
    Longhaul__V1__Tokens tokens = LONGHAUL__V1__TOKENS__INIT;
    tokens.text = (char *)text;
    tokens.n_ids = id_count;
    tokens.ids = (int32_t *)ids;
    if (!logprobs)
        return tell(stream, EVENT_PART, &tokens);
    enum status status = STATUS_OK;
    struct logprobs_message *messages = calloc(id_count + 1, sizeof *messages);
    tokens.logprobs = calloc(id_count + 1, sizeof(Longhaul__V1__TokenLogprobs *));
    if (!messages || !tokens.logprobs)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for log-probabilities"), free_all);
    for (size_t i = 0; i < id_count; i++) {
        set_logprobs(&messages[i], &logprobs[i], likeliest);
        tokens.logprobs[i] = &messages[i].message;
    }
    tokens.n_logprobs = id_count;
    status = tell(stream, EVENT_PART, &tokens);
free_all:
    free(tokens.logprobs);
    free(messages);
    return status;
}

enum status stream_scores(struct stream *stream, int64_t first, const int32_t *ids, size_t id_count,
                          const float *logprobs, size_t count)
{
    Longhaul__V1__Scores scores = LONGHAUL__V1__SCORES__INIT;
    scores.first = first;
    scores.n_token_ids = id_count;
    scores.token_ids = (int32_t *)ids;
    scores.n_logprobs = count;
    scores.logprobs = (float *)logprobs;
    return tell(stream, EVENT_PART, &scores);
}

enum status stream_trace(struct stream *stream, int rank, const struct group_trace *trace)
{
    Longhaul__V1__TraceEvent *events[GROUP_TRACE_TOLD_MAX];
    size_t done = 0;
    do {
        (void)errand_client_has_room(stream->client, TRACE_ROOM_MS);
        Longhaul__V1__RankTrace message = LONGHAUL__V1__RANK_TRACE__INIT;
        message.rank = rank;
        message.dropped = trace->dropped;
        message.events = events;
        while (message.n_events < GROUP_TRACE_TOLD_MAX && done < trace->count)
            events[message.n_events++] = &trace->events[done++];
        TRY(tell(stream, EVENT_TRACE, &message));
    } while (done < trace->count);
    return STATUS_OK;
}

static enum status tell_end(struct stream *stream, const struct stream_end *end,
                            Longhaul__V1__Usage *usage, Longhaul__V1__Seconds *seconds,
                            Longhaul__V1__RankReport **ranks, size_t rank_count)
{
    if (stream->is_score) {
        Longhaul__V1__ScoreFinished finished = LONGHAUL__V1__SCORE_FINISHED__INIT;
        finished.usage = usage;
        finished.seconds = seconds;
        finished.n_ranks = rank_count;
        finished.ranks = ranks;
        finished.perplexity = end->perplexity;
        return tell(stream, EVENT_FINISHED, &finished);
    }
    Longhaul__V1__Finished finished = LONGHAUL__V1__FINISHED__INIT;
    finished.finish_reason = end->reason;
    finished.usage = usage;
    finished.seconds = seconds;
    finished.n_ranks = rank_count;
    finished.ranks = ranks;
    finished.seed = end->seed;
    return tell(stream, EVENT_FINISHED, &finished);
}

enum status stream_finished(struct stream *stream, const struct stream_end *end,
                            const struct group_outcome *outcome)
{
    Longhaul__V1__Usage usage = LONGHAUL__V1__USAGE__INIT;
    usage.prompt_tokens = end->prompt_tokens;
    usage.completion_tokens = outcome->completion_tokens;
    usage.cached_tokens = outcome->cached_tokens;
    usage.prefilled_tokens = outcome->prefilled_tokens;
    usage.drafted_tokens = outcome->drafted_tokens;
    usage.accepted_tokens = outcome->accepted_tokens;
    Longhaul__V1__Seconds seconds = LONGHAUL__V1__SECONDS__INIT;
    seconds.load = end->load_seconds;
    seconds.prefill = outcome->prefill_seconds;
    seconds.decode = outcome->decode_seconds;
    const size_t count = (size_t)outcome->report_count;
    struct report_message *reports = calloc(count, sizeof *reports);
    Longhaul__V1__RankReport **ranks = calloc(count, sizeof(Longhaul__V1__RankReport *));
    enum status status = STATUS_OK;
    if (!reports || !ranks)
        TRY_ELSE(fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the ranks' reports"), free_all);
    for (size_t i = 0; i < count; i++) {
        report_message_set(&reports[i], (int)i, &outcome->reports[i].report);
        reports[i].report.slowness = end->slowness ? end->slowness[i] : 0;
        ranks[i] = &reports[i].report;
    }
    status = tell_end(stream, end, &usage, &seconds, ranks, count);
free_all:
    free(ranks);
    free(reports);
    return status;
}
