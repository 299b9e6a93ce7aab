/* Owns the values while they come. Promises that each token has its one. */
#include "coordinator/cli/text_scores.h"

#include <stdlib.h>

#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/method_option.h"

void text_scores_deinit(struct text_scores *scores)
{
    id_list_deinit(&scores->ids);
    free(scores->logprobs);
    if (scores->plan)
        longhaul__v1__plan_summary__free_unpacked(scores->plan, NULL);
    if (scores->finished)
        longhaul__v1__score_finished__free_unpacked(scores->finished, NULL);
}

static enum status take_scores(struct text_scores *scores, const Longhaul__V1__Scores *part)
{
    if (part->first != (int64_t)scores->ids.count)
        return fail(STATUS_INTERNAL, "scores from token %lld on came where %zu was next",
                    (long long)part->first, scores->ids.count);
    for (size_t i = 0; i < part->n_token_ids; i++)
        TRY(id_list_add(&scores->ids, part->token_ids[i]));
    size_t wanted = scores->logprobs_count + part->n_logprobs;
    if (wanted > scores->logprobs_room) {
        float *larger = realloc(scores->logprobs, 2 * wanted * sizeof *larger);
        if (!larger)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the scores");
        scores->logprobs = larger;
        scores->logprobs_room = 2 * wanted;
    }
    for (size_t i = 0; i < part->n_logprobs; i++)
        scores->logprobs[scores->logprobs_count++] = part->logprobs[i];
    return STATUS_OK;
}

static enum status take_event(void *context, const ProtobufCMessage *message)
{
    struct text_scores *scores = context;
    const Longhaul__V1__ScoreResponse *response = (const Longhaul__V1__ScoreResponse *)message;
    ProtobufCMessage *kept = NULL;
    scores->begun = response->event_case != LONGHAUL__V1__SCORE_RESPONSE__EVENT_QUEUED;
    switch (response->event_case) {
    case LONGHAUL__V1__SCORE_RESPONSE__EVENT_QUEUED:
        progress_queued(&scores->progress, response->queued);
        return STATUS_OK;
    case LONGHAUL__V1__SCORE_RESPONSE__EVENT_PLANNED:
        if (scores->plan)
            return STATUS_OK;
        progress_planned(&scores->progress, response->planned);
        TRY(event_stream_keep(&kept, &response->planned->base));
        scores->plan = (Longhaul__V1__PlanSummary *)kept;
        return STATUS_OK;
    case LONGHAUL__V1__SCORE_RESPONSE__EVENT_PROGRESS:
        progress_prompt(&scores->progress, response->progress);
        return STATUS_OK;
    case LONGHAUL__V1__SCORE_RESPONSE__EVENT_SCORES:
        return take_scores(scores, response->scores);
    case LONGHAUL__V1__SCORE_RESPONSE__EVENT_FINISHED:
        if (scores->finished)
            return STATUS_OK;
        TRY(event_stream_keep(&kept, &response->finished->base));
        scores->finished = (Longhaul__V1__ScoreFinished *)kept;
        return STATUS_OK;
    default:
        return STATUS_OK; /* of a newer coordinator */
    }
}

static void wait_on(void *context, const char *trouble)
{
    struct text_scores *scores = context;
    progress_wait(&scores->progress, trouble);
}

enum status text_scores_ask(struct text_scores *scores, struct rpc_client *client, const char *text,
                            struct method_option *method, int64_t timeout_ms)
{
    Longhaul__V1__ScoreRequest request = LONGHAUL__V1__SCORE_REQUEST__INIT;
    request.text = (char *)(size_t)text; /* only read */
    request.options = &method->options;
    request.positions = (int64_t *)scores->positions; /* only read */
    request.n_positions = scores->positions_count;
    const struct event_stream_args args = {
        .path = "/longhaul.v1.Inference/Score",
        .response = &longhaul__v1__score_response__descriptor,
        .request = &request.base,
        .timeout_ms = timeout_ms,
        .take = take_event,
        .wait = wait_on,
        .begun = &scores->begun,
        .context = scores,
    };
    TRY(event_stream_run(client, &args));
    if (!scores->finished)
        return fail(STATUS_INTERNAL, "the coordinator ended the scores without its last event");
    progress_finished(&scores->progress, scores->finished->usage, scores->finished->seconds,
                      scores->finished->ranks, scores->finished->n_ranks);
    return STATUS_OK;
}
