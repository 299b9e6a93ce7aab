/* Owns one call's times and reports. Promises that a request that succeeded had the lengths that
 * were asked for. */
#include "coordinator/cli/measured_request.h"

#include <inttypes.h>
#include <stdlib.h>

#include "coordinator/cli/event_stream.h"
#include "proto/clock.h"

static enum status keep_arrival(struct measured_request *request, int64_t now_ns, int64_t tokens)
{
    if (tokens == 0)
        return STATUS_OK;
    if (request->arrival_count == request->arrival_room) {
        const size_t room = request->arrival_room ? 2 * request->arrival_room : 64;
        struct measured_arrival *longer =
            reallocarray(request->arrivals, room, sizeof *request->arrivals);
        if (!longer)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the times of tokens");
        request->arrivals = longer;
        request->arrival_room = room;
    }
    request->arrivals[request->arrival_count++] = (struct measured_arrival){now_ns, tokens};
    request->answer_tokens += tokens;
    return STATUS_OK;
}

static enum status take(void *context, const ProtobufCMessage *message)
{
    const int64_t now_ns = clock_now_ns();
    struct measured_request *request = context;
    const Longhaul__V1__GenerateResponse *response =
        (const Longhaul__V1__GenerateResponse *)message;
    ProtobufCMessage *kept = NULL;
    request->begun = response->event_case != LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED;
    switch (response->event_case) {
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED:
        if (!request->plan) {
            TRY(event_stream_keep(&kept, &response->planned->base));
            request->plan = (Longhaul__V1__PlanSummary *)kept;
        }
        return STATUS_OK;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS:
        return keep_arrival(request, now_ns, (int64_t)response->tokens->n_ids);
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED:
        if (!request->finished) {
            TRY(event_stream_keep(&kept, &response->finished->base));
            request->finished = (Longhaul__V1__Finished *)kept;
        }
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static void wait_on(void *context, const char *trouble)
{
    (void)context;
    (void)trouble;
}

static enum status check_lengths(const struct measured_request *request,
                                 const struct measured_request_args *args)
{
    const Longhaul__V1__Finished *finished = request->finished;
    if (!finished || !finished->usage || !finished->seconds || !request->plan)
        return fail(STATUS_INTERNAL, "the coordinator ended the answer without its report");
    if (finished->finish_reason == LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED)
        return fail(STATUS_CANCELLED, "the coordinator ended, and cut the answer short");
    if (finished->usage->prompt_tokens != args->prompt_tokens)
        return fail(STATUS_INTERNAL, "a prompt of %" PRId64 " tokens was counted as %" PRId64,
                    args->prompt_tokens, finished->usage->prompt_tokens);
    if (request->answer_tokens != args->max_tokens)
        return fail(STATUS_INTERNAL,
                    "%" PRId64 " tokens were asked for, whatever the model ends with, and %" PRId64
                    " came",
                    args->max_tokens, request->answer_tokens);
    return STATUS_OK;
}

enum status measured_request_run(struct measured_request *request,
                                 const struct measured_request_args *args)
{
    Longhaul__V1__GenerateRequest message = LONGHAUL__V1__GENERATE_REQUEST__INIT;
    Longhaul__V1__Prompt prompt = LONGHAUL__V1__PROMPT__INIT;
    Longhaul__V1__PlanOptions options = LONGHAUL__V1__PLAN_OPTIONS__INIT;
    Longhaul__V1__Method method = LONGHAUL__V1__METHOD__INIT;
    prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_TEXT;
    prompt.text = (char *)(size_t)args->text; /* only read, as the next ones */
    prompt.raw = true;
    if (args->method) {
        method.spelling = (char *)(size_t)args->method;
        options.method = &method;
    }
    if (args->stage_tokens > 0) {
        options.optional_stage_tokens_case =
            LONGHAUL__V1__PLAN_OPTIONS__OPTIONAL_STAGE_TOKENS_STAGE_TOKENS;
        options.stage_tokens = args->stage_tokens;
    }
    if (args->request_id)
        message.request_id = (char *)(size_t)args->request_id;
    message.prompt = &prompt;
    message.options = &options;
    message.optional_max_tokens_case =
        LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    message.max_tokens = args->max_tokens;
    message.no_prefix_reuse = args->no_prefix_reuse;
    message.ignore_end = true;
    message.draft = args->draft;
    static const bool always = true;
    *request = (struct measured_request){.begin_ns = clock_now_ns()};
    const struct event_stream_args stream = {
        .path = "/longhaul.v1.Inference/Generate",
        .response = &longhaul__v1__generate_response__descriptor,
        .request = &message.base,
        .timeout_ms = args->timeout_ms,
        .take = take,
        .wait = wait_on,
        .begun = args->once ? &always : &request->begun,
        .context = request,
    };
    TRY(event_stream_run(args->client, &stream));
    request->end_ns = clock_now_ns();
    return check_lengths(request, args);
}

void measured_request_deinit(struct measured_request *request)
{
    free(request->arrivals);
    if (request->plan)
        longhaul__v1__plan_summary__free_unpacked(request->plan, NULL);
    if (request->finished)
        longhaul__v1__finished__free_unpacked(request->finished, NULL);
    *request = (struct measured_request){.arrivals = NULL};
}

double measured_request_first_seconds(const struct measured_request *request, int64_t from_ns)
{
    return request->arrival_count > 0 ? (double)(request->arrivals[0].ns - from_ns) * 1e-9 : 0;
}
