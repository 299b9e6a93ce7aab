/* Owns nothing: adds scores up as they are told. */
#include <math.h>
#include <string.h>

#include "coordinator/errand_parts.h"
#include "proto/log.h"

static enum status follow_scores(struct errand *errand, double *sum, int64_t *count)
{
    struct group_news news = {0};
    const int64_t last = (int64_t)errand->ids.count - 1;
    while (!news.ended) {
        TRY(errand_follow(errand, &news));
        *count += news.score_count;
        if (news.score_count == 0)
            continue;
        TRY(errand_check_finite(errand, news.scores, (size_t)news.score_count));
        for (int64_t i = 0; i < news.score_count; i++)
            *sum += (double)news.scores[i];
        /* The last token has no score: its id goes with the last ones that have. */
        int64_t end = news.score_first + news.score_count;
        int64_t ids = news.score_count + (end == last);
        TRY(stream_scores(&errand->stream, news.score_first, errand->ids.ids + news.score_first,
                          (size_t)ids, news.scores, (size_t)news.score_count));
    }
    return STATUS_OK;
}

static enum status finish_scores(struct errand *errand, double sum, int64_t count)
{
    struct group_outcome outcome;
    group_run_outcome(errand->run, &outcome);
    if (outcome.status != STATUS_OK)
        return errand_failure(errand, &outcome);
    struct stream_end end = {
        .perplexity = exp(-sum / (double)(count > 0 ? count : 1)),
        .prompt_tokens = (int64_t)errand->ids.count,
        .load_seconds = errand->facts.load_seconds,
    };
    errand_note_outcome(errand, &outcome, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_UNSPECIFIED);
    end.slowness = errand->slowness;
    return stream_finished(&errand->stream, &end, &outcome);
}

static enum status read_continuation(struct errand *errand,
                                     const Longhaul__V1__ScoreRequest *request)
{
    TRY(errand_session_ask(errand, request->session));
    errand->client->details->field = "session";
    if (!errand->session.raw)
        return fail(STATUS_INVALID_ARGUMENT, "session: a score takes one that is raw");
    errand->client->details->field = "text";
    return prompt_encode_text_behind(&errand->tools->forms, &errand->ids, errand->version->text,
                                     request->text);
}

/* A part goes on from what was read of the text. */
static enum status read_part(struct errand *errand)
{
    const struct errand_part *part = errand->part;
    errand->options = part->options;
    errand->version = part->version;
    errand->fetched = true;
    return prompt_encode_text_behind(&errand->tools->forms, &errand->ids, part->beginning,
                                     part->text);
}

static enum status read_score(struct errand *errand, const Longhaul__V1__ScoreRequest *request)
{
    errand->client->details->field = "text";
    if (request)
        errand->options = request->options;
    if (errand->part) {
        TRY(read_part(errand));
    } else if (request->session[0]) {
        TRY(read_continuation(errand, request));
    } else {
        TRY(prompt_check_bytes(&errand->tools->forms, strlen(request->text)));
        TRY(tokenizer_encode(errand->tools->forms.tokenizer, &errand->ids, request->text,
                             strlen(request->text), TOKENIZER_CONTROL | TOKENIZER_BOS));
    }
    errand_client_note(errand->client, log_integer("prompt_tokens", (int64_t)errand->ids.count));
    if (errand->ids.count < 2)
        return fail(STATUS_INVALID_ARGUMENT, "text: %zu tokens; a score needs at least 2",
                    errand->ids.count);
    errand->client->details->field = NULL;
    if (request)
        return errand_positions_read(errand, request->positions, request->n_positions);
    return STATUS_OK;
}

static enum status score(const struct errand_client *client, struct errand_tools *tools,
                         const Longhaul__V1__ScoreRequest *request, const struct errand_part *part)
{
    struct errand errand;
    double sum = 0;
    int64_t count = 0;
    TRY(errand_init(&errand, client, tools, part ? "" : request->request_id, true));
    enum status status = STATUS_OK;
    errand_set_part(&errand, part);
    TRY_ELSE(errand_check_queue(&errand), deinit);
    TRY_ELSE(answer_request_none(&errand.asked, &client->details->field), deinit);
    TRY_ELSE(read_score(&errand, request), deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    TRY_ELSE(follow_scores(&errand, &sum, &count), deinit);
    status = finish_scores(&errand, sum, count);
deinit:
    errand_deinit(&errand, status);
    return status;
}

enum status errand_score_part(const struct errand_client *client, struct errand_tools *tools,
                              const struct errand_part *part)
{
    return score(client, tools, NULL, part);
}

enum status errand_score(const struct errand_client *client, struct errand_tools *tools,
                         const Longhaul__V1__ScoreRequest *request)
{
    if (request->n_continuations > 0)
        return errand_continuations(client, tools, request);
    return score(client, tools, request, NULL);
}
