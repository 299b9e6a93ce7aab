/* Owns the text and the ids of one answer. Promises that text reaches standard output as soon as it
 * comes. */
#include "coordinator/cli/answer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/placement_table.h"
#include "coordinator/cli/plan_report.h"
#include "proto/json_writer.h"
#include "proto/printable.h"
#include "proto/standard_streams.h"

static enum status keep_text(struct answer *answer, const char *text)
{
    size_t bytes = strlen(text);
    char *longer = realloc(answer->text, answer->text_bytes + bytes + 1);
    if (!longer)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    memcpy(longer + answer->text_bytes, text, bytes + 1);
    answer->text = longer;
    answer->text_bytes += bytes;
    return STATUS_OK;
}

/* The answer goes out as it is, but for what could steer a terminal where one takes it: a document
 * or a model may have put that there. */
static enum status write_answer(const char *text)
{
    if (!isatty(STDOUT_FILENO))
        return standard_output_text(text);
    char *shown = strdup(text);
    if (!shown)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the answer");
    printable_mask_text(shown, strlen(shown));
    enum status status = standard_output_text(shown);
    free(shown);
    return status;
}

static enum status keep_logprobs(struct answer *answer, const Longhaul__V1__Tokens *tokens)
{
    ProtobufCMessage *kept = NULL;
    Longhaul__V1__Tokens **longer =
        realloc(answer->logprobs, (answer->logprobs_count + 1) * sizeof *longer);
    if (!longer)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for log-probabilities");
    answer->logprobs = longer;
    TRY(event_stream_keep(&kept, &tokens->base));
    longer[answer->logprobs_count++] = (Longhaul__V1__Tokens *)kept;
    return STATUS_OK;
}

static enum status take_tokens(struct answer *answer, const Longhaul__V1__Tokens *tokens)
{
    for (size_t i = 0; i < tokens->n_ids; i++)
        TRY(id_list_add(&answer->ids, tokens->ids[i]));
    progress_answer(&answer->progress, (int64_t)answer->ids.count, answer->token_limit);
    TRY(keep_text(answer, tokens->text));
    if (tokens->n_logprobs > 0)
        TRY(keep_logprobs(answer, tokens));
    return answer->stream ? write_answer(tokens->text) : STATUS_OK;
}

static enum status keep_trace(struct answer *answer, const Longhaul__V1__RankTrace *trace)
{
    ProtobufCMessage *kept = NULL;
    Longhaul__V1__RankTrace **longer =
        reallocarray(answer->traces, answer->trace_count + 1, sizeof *longer);
    if (!longer)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a trace");
    answer->traces = longer;
    TRY(event_stream_keep(&kept, &trace->base));
    longer[answer->trace_count++] = (Longhaul__V1__RankTrace *)kept;
    return STATUS_OK;
}

static enum status take_event(void *context, const ProtobufCMessage *message)
{
    struct answer *answer = context;
    const Longhaul__V1__GenerateResponse *response =
        (const Longhaul__V1__GenerateResponse *)message;
    ProtobufCMessage *kept = NULL;
    answer->begun = response->event_case != LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED;
    switch (response->event_case) {
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED:
        progress_queued(&answer->progress, response->queued);
        return STATUS_OK;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED:
        if (answer->plan)
            return STATUS_OK;
        if (answer->placed)
            TRY(placement_table_tell(answer->placed));
        progress_planned(&answer->progress, response->planned);
        answer->token_limit = response->planned->max_tokens;
        TRY(event_stream_keep(&kept, &response->planned->base));
        answer->plan = (Longhaul__V1__PlanSummary *)kept;
        return STATUS_OK;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PROGRESS:
        progress_prompt(&answer->progress, response->progress);
        return STATUS_OK;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS:
        return take_tokens(answer, response->tokens);
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TRACE:
        return keep_trace(answer, response->trace);
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED:
        if (answer->finished)
            return STATUS_OK;
        TRY(event_stream_keep(&kept, &response->finished->base));
        answer->finished = (Longhaul__V1__Finished *)kept;
        return STATUS_OK;
    default:
        return STATUS_OK; /* of a newer coordinator */
    }
}

static void wait_on(void *context, const char *trouble)
{
    struct answer *answer = context;
    progress_wait(&answer->progress, trouble);
}

enum status answer_ask(struct answer *answer, struct rpc_client *client,
                       const Longhaul__V1__GenerateRequest *request)
{
    const struct event_stream_args args = {
        .path = "/longhaul.v1.Inference/Generate",
        .response = &longhaul__v1__generate_response__descriptor,
        .request = &request->base,
        .timeout_ms = answer->timeout_ms,
        .take = take_event,
        .wait = wait_on,
        .begun = &answer->begun,
        .context = answer,
    };
    enum status status = event_stream_run(client, &args);
    if (status == STATUS_OK && !answer->finished)
        status = fail(STATUS_INTERNAL, "the coordinator ended the answer without its last event");
    console_clear();
    bool open_line = answer->text_bytes > 0 && answer->text[answer->text_bytes - 1] != '\n';
    if (answer->stream && open_line && status != STATUS_IO) {
        char sentence[512];
        snprintf(sentence, sizeof sentence, "%s", status_message());
        enum status written = standard_output_text("\n");
        status = status == STATUS_OK ? written : fail(status, "%s", sentence);
    }
    if (status == STATUS_OK)
        progress_finished(&answer->progress, answer->finished->usage, answer->finished->seconds,
                          answer->finished->ranks, answer->finished->n_ranks);
    if (status == STATUS_OK && answer->progress.verbose)
        console_say("%sseed %" PRIu64 "%s", console_paint(CONSOLE_DIM), answer->finished->seed,
                    console_paint(CONSOLE_PLAIN));
    return status;
}

static const char *finish_reason(const struct answer *answer)
{
    switch (answer->finished->finish_reason) {
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP:
        return "stop";
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_LENGTH:
        return "length";
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED:
        return "cancelled";
    default:
        return "unknown";
    }
}

/* One entry a token, beside token_ids. */
static void print_logprobs(struct json_writer *writer, const struct answer *answer)
{
    json_writer_begin_array(writer, "logprobs");
    for (size_t piece = 0; piece < answer->logprobs_count; piece++)
        for (size_t i = 0; i < answer->logprobs[piece]->n_logprobs; i++) {
            const Longhaul__V1__TokenLogprobs *token = answer->logprobs[piece]->logprobs[i];
            json_writer_begin_object(writer, NULL);
            json_writer_real(writer, "logprob", token->logprob);
            json_writer_begin_array(writer, "likeliest");
            for (size_t l = 0; l < token->n_likeliest; l++) {
                json_writer_begin_object(writer, NULL);
                json_writer_integer(writer, "id", token->likeliest[l]->id);
                json_writer_real(writer, "logprob", token->likeliest[l]->logprob);
                json_writer_end_object(writer);
            }
            json_writer_end_array(writer);
            json_writer_end_object(writer);
        }
    json_writer_end_array(writer);
}

void answer_print_json(const struct answer *answer)
{
    struct json_writer writer = {.file = stdout};
    const Longhaul__V1__Finished *finished = answer->finished;
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_bytes(&writer, "text", answer->text ? answer->text : "", answer->text_bytes);
    json_writer_begin_array(&writer, "token_ids");
    for (size_t i = 0; i < answer->ids.count; i++)
        json_writer_integer(&writer, NULL, answer->ids.ids[i]);
    json_writer_end_array(&writer);
    if (answer->logprobs_count > 0)
        print_logprobs(&writer, answer);
    json_writer_text(&writer, "finish_reason", finish_reason(answer));
    plan_report_usage_json(&writer, finished->usage);
    plan_report_seconds_json(&writer, finished->seconds);
    json_writer_unsigned(&writer, "seed", finished->seed);
    plan_report_json(&writer, answer->plan);
    plan_report_ranks_json(&writer, finished->ranks, finished->n_ranks);
    json_writer_end_object(&writer);
    putchar('\n');
}

void answer_deinit(struct answer *answer)
{
    free(answer->text);
    for (size_t i = 0; i < answer->logprobs_count; i++)
        longhaul__v1__tokens__free_unpacked(answer->logprobs[i], NULL);
    free(answer->logprobs);
    for (size_t i = 0; i < answer->trace_count; i++)
        longhaul__v1__rank_trace__free_unpacked(answer->traces[i], NULL);
    free(answer->traces);
    id_list_deinit(&answer->ids);
    if (answer->plan)
        longhaul__v1__plan_summary__free_unpacked(answer->plan, NULL);
    if (answer->finished)
        longhaul__v1__finished__free_unpacked(answer->finished, NULL);
}
