/* Owns an answer's text on its way. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/errand_parts.h"
#include "coordinator/text/detokenizer.h"
#include "proto/log.h"

/* The text of a batch of ids. */
struct batch {
    char *text; /* 0-terminated */
    size_t bytes, room;
    size_t ids; /* how many were used before a stop string ended the answer */
    bool stopped;
};

static enum status batch_add(struct batch *batch, const struct detokenizer_piece *piece)
{
    if (batch->bytes + piece->bytes + 1 > batch->room) {
        size_t room = 2 * (batch->bytes + piece->bytes + 1);
        char *longer = realloc(batch->text, room);
        if (!longer)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the answer's text");
        batch->text = longer;
        batch->room = room;
    }
    memcpy(batch->text + batch->bytes, piece->text, piece->bytes);
    batch->bytes += piece->bytes;
    batch->text[batch->bytes] = 0;
    batch->stopped = piece->stopped;
    return STATUS_OK;
}

/* Turns the news into text; at the end also what was held back. */
static enum status batch_fill(struct batch *batch, struct detokenizer *detokenizer,
                              const struct group_news *news)
{
    struct detokenizer_piece piece = {.text = "", .bytes = 0};
    batch->bytes = 0;
    TRY(batch_add(batch, &piece));
    for (batch->ids = 0; batch->ids < news->id_count && !batch->stopped; batch->ids++) {
        TRY(detokenizer_feed(detokenizer, &piece, news->ids[batch->ids]));
        TRY(batch_add(batch, &piece));
    }
    if (news->ended && !batch->stopped) {
        TRY(detokenizer_end(detokenizer, &piece));
        TRY(batch_add(batch, &piece));
    }
    return STATUS_OK;
}

static enum status follow_answer(struct errand *errand, struct detokenizer *detokenizer,
                                 bool *stopped, int64_t *completion_tokens)
{
    struct group_news news = {0};
    struct batch batch = {0};
    enum status status = STATUS_OK;
    while (!news.ended && !batch.stopped) {
        TRY_ELSE(errand_follow(errand, &news), free_text);
        for (size_t i = 0; news.logprobs && i < news.id_count; i++) {
            const struct group_logprobs *told = &news.logprobs[i];
            TRY_ELSE(errand_check_finite(errand, &told->chosen, 1), free_text);
            TRY_ELSE(errand_check_finite(errand, told->likeliest, (size_t)errand->asked.likeliest),
                     free_text);
        }
        TRY_ELSE(batch_fill(&batch, detokenizer, &news), free_text);
        *completion_tokens += (int64_t)batch.ids;
        errand_client_note(errand->client, log_integer("completion_tokens", *completion_tokens));
        TRY_ELSE(stream_tokens(&errand->stream, batch.text, news.ids, news.logprobs, batch.ids,
                               errand->asked.likeliest),
                 free_text);
        if (batch.ids > 0)
            errand_course_tokens(&errand->course);
    }
    *stopped = batch.stopped;
    if (!batch.stopped)
        goto free_text;
    group_run_cancel(errand->run, "a stop string was met");
    while (!news.ended) /* the ranks' counts are complete only then */
        TRY_ELSE(errand_follow(errand, &news), free_text);
free_text:
    free(batch.text);
    return status;
}

static const char *finish_word(Longhaul__V1__FinishReason reason)
{
    switch (reason) {
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP:
        return "stop";
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED:
        return "cancelled";
    default:
        return "length";
    }
}

static enum status finish_answer(struct errand *errand, bool stopped, int64_t completion_tokens)
{
    struct group_outcome outcome;
    group_run_outcome(errand->run, &outcome);
    struct stream_end end = {
        .reason = LONGHAUL__V1__FINISH_REASON__FINISH_REASON_LENGTH,
        .seed = errand->asked.sampling.sampling.seed,
        .prompt_tokens = (int64_t)errand->ids.count,
        .load_seconds = errand->facts.load_seconds,
    };
    bool cut_short = outcome.status == STATUS_CANCELLED;
    if (stopped || outcome.stopped)
        end.reason = LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP;
    else if (cut_short && atomic_load(&errand->tools->stopping))
        end.reason = LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED;
    else if (outcome.status != STATUS_OK)
        return errand_failure(errand, &outcome);
    if (stopped)
        outcome.completion_tokens = completion_tokens;
    errand_note_outcome(errand, &outcome, end.reason);
    for (int rank = 0; outcome.traces && rank < outcome.report_count; rank++)
        TRY(stream_trace(&errand->stream, rank, &outcome.traces[rank]));
    end.slowness = errand->slowness;
    errand_client_note(errand->client, log_text("reason", finish_word(end.reason)));
    return stream_finished(&errand->stream, &end, &outcome);
}

static enum status read_question(struct errand *errand,
                                 const Longhaul__V1__GenerateRequest *request)
{
    const Longhaul__V1__Prompt *prompt = request->prompt;
    TRY(errand_session_ask(errand, request->session));
    errand->client->details->field = "prompt";
    if (!prompt || prompt->content_case != LONGHAUL__V1__PROMPT__CONTENT_TEXT)
        return fail(STATUS_INVALID_ARGUMENT, "prompt: a question to a session is a text");
    return prompt_encode_question(&errand->tools->forms, &errand->ids, errand->version->text,
                                  prompt->text, errand->session.raw);
}

/* A client that has cut the prompt into tokens already has done it by the same forms. */
static enum status read_prompt(struct errand *errand, const Longhaul__V1__GenerateRequest *request)
{
    const struct id_list *known = errand->client->prompt_ids;
    if (!known)
        return prompt_encode(&errand->tools->forms, &errand->ids, request->prompt);
    for (size_t i = 0; i < known->count; i++)
        TRY(id_list_add(&errand->ids, known->ids[i]));
    return STATUS_OK;
}

/* A part's prompt is the whole call's, and begins as what was read for it. */
static enum status read_part(struct errand *errand, const Longhaul__V1__GenerateRequest *request)
{
    const struct errand_part *part = errand->part;
    errand->options = part->options;
    errand->version = part->version;
    errand->fetched = part->read;
    errand->asked.sampling.sampling.seed = part->seed;
    return read_prompt(errand, request);
}

enum status errand_generate_read(struct errand *errand,
                                 const Longhaul__V1__GenerateRequest *request)
{
    struct status_details *details = errand->client->details;
    errand->options = request->options;
    TRY(answer_request_read(&errand->asked, &details->field, request,
                            tokenizer_count(errand->tools->forms.tokenizer),
                            errand->tools->drafts));
    errand->max_tokens = errand->asked.max_tokens;
    details->field = "prompt";
    enum status status = errand->part          ? read_part(errand, request)
                         : request->session[0] ? read_question(errand, request)
                                               : read_prompt(errand, request);
    if (status == STATUS_OUT_OF_RANGE)
        details->reason = "CONTEXT_EXCEEDED";
    TRY(status);
    errand_client_note(errand->client, log_integer("prompt_tokens", (int64_t)errand->ids.count));
    details->field = NULL;
    return errand_positions_read(errand, request->positions, request->n_positions);
}

static enum status begin_text(struct errand *errand, struct detokenizer *detokenizer,
                              const Longhaul__V1__GenerateRequest *request)
{
    struct detokenizer_stop stops[DETOKENIZER_STOPS_MAX];
    for (size_t i = 0; i < request->n_stop && i < DETOKENIZER_STOPS_MAX; i++)
        stops[i] = (struct detokenizer_stop){request->stop[i], strlen(request->stop[i])};
    errand->client->details->field = "stop";
    TRY(detokenizer_init(detokenizer, errand->tools->forms.tokenizer, stops, request->n_stop));
    errand->client->details->field = NULL;
    return STATUS_OK;
}

static enum status answer(const struct errand_client *client, struct errand_tools *tools,
                          const Longhaul__V1__GenerateRequest *request,
                          const struct errand_part *part)
{
    struct errand errand;
    struct detokenizer detokenizer = {0};
    bool stopped = false;
    int64_t completion_tokens = 0;
    TRY(errand_init(&errand, client, tools, part ? "" : request->request_id, false));
    enum status status = STATUS_OK;
    errand_set_part(&errand, part);
    TRY_ELSE(errand_check_queue(&errand), deinit);
    TRY_ELSE(begin_text(&errand, &detokenizer, request), deinit);
    TRY_ELSE(errand_generate_read(&errand, request), deinit);
    TRY_ELSE(errand_begin_run(&errand), deinit);
    TRY_ELSE(follow_answer(&errand, &detokenizer, &stopped, &completion_tokens), deinit);
    status = finish_answer(&errand, stopped, completion_tokens);
deinit:
    detokenizer_deinit(&detokenizer);
    errand_deinit(&errand, status);
    return status;
}

enum status errand_generate_part(const struct errand_client *client, struct errand_tools *tools,
                                 const Longhaul__V1__GenerateRequest *request,
                                 const struct errand_part *part)
{
    return answer(client, tools, request, part);
}

enum status errand_generate(const struct errand_client *client, struct errand_tools *tools,
                            const Longhaul__V1__GenerateRequest *request)
{
    if (request->answers > 1 && request->answers <= SAMPLING_ANSWERS_MAX)
        return errand_answers(client, tools, request);
    return answer(client, tools, request, NULL);
}
