/* Owns the cases' prompts and samples. Promises that a prompt whose reading is measured is read
 * whole. */
#include "coordinator/cli/bench_case.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/measured_request.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/rpc_client.h"

enum { ASK_MS = 60000, PROMPT_SEED = 1 };

/* ---- which there are ---- */

static struct bench_case make_case(enum bench_kind kind, int64_t length, int64_t answer)
{
    struct bench_case one = {.kind = kind, .prompt_tokens = length, .answer_tokens = answer};
    switch (kind) {
    case BENCH_PREFILL:
        snprintf(one.name, sizeof one.name, "pp%" PRId64, length);
        break;
    case BENCH_DECODE:
        one.depth = length;
        if (length > 0)
            snprintf(one.name, sizeof one.name, "tg%" PRId64 " @ d%" PRId64, answer, length);
        else
            snprintf(one.name, sizeof one.name, "tg%" PRId64, answer);
        break;
    case BENCH_FRONTIER:
        snprintf(one.name, sizeof one.name, "frontier %" PRId64, length);
        break;
    }
    return one;
}

static void add(struct bench_cases *cases, struct bench_case one, const char *method)
{
    const int64_t needed = one.prompt_tokens + one.answer_tokens + 1;
    one.asked_method = method;
    cases->cases[cases->count++] = one;
    if (needed > cases->context_tokens)
        cases->context_tokens = needed;
}

enum status bench_cases_make(struct bench_cases *cases, const struct bench_plan *plan)
{
    static const struct number_list no_depth = {.values = {0}, .count = 1};
    const struct number_list *depths = plan->depths.count > 0 ? &plan->depths : &no_depth;
    const size_t room =
        plan->methods.count *
        (plan->prefill.count + plan->decode.count * depths->count + plan->frontier.count);
    *cases = (struct bench_cases){.cases = calloc(room, sizeof *cases->cases)};
    if (!cases->cases)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu cases", room);
    for (size_t m = 0; m < plan->methods.count; m++) {
        const char *method = plan->methods.spellings[m];
        for (size_t i = 0; i < plan->prefill.count; i++)
            add(cases, make_case(BENCH_PREFILL, plan->prefill.values[i], 0), method);
        for (size_t i = 0; i < plan->decode.count; i++)
            for (size_t d = 0; d < depths->count; d++)
                add(cases, make_case(BENCH_DECODE, depths->values[d], plan->decode.values[i]),
                    method);
        for (size_t i = 0; i < plan->frontier.count; i++)
            add(cases, make_case(BENCH_FRONTIER, plan->frontier.values[i], plan->frontier_answer),
                method);
    }
    return STATUS_OK;
}

void bench_cases_deinit(struct bench_cases *cases)
{
    for (size_t i = 0; i < cases->count; i++) {
        struct bench_case *one = &cases->cases[i];
        free(one->text);
        samples_deinit(&one->prefill_rate);
        samples_deinit(&one->decode_rate);
        samples_deinit(&one->prefill_seconds);
        samples_deinit(&one->decode_seconds);
        samples_deinit(&one->first_seconds);
    }
    free(cases->cases);
    *cases = (struct bench_cases){.cases = NULL};
}

/* ---- before the measurement ---- */

static void take_cache(struct bench_case *one, const Longhaul__V1__PlanResponse *plan)
{
    for (size_t i = 0; i < plan->n_ranks; i++) {
        const int64_t bytes = plan->ranks[i]->cache_bytes;
        one->cache_bytes += bytes;
        if (bytes > one->cache_bytes_worker)
            one->cache_bytes_worker = bytes;
    }
}

static enum status ask_plan(struct bench_case *one, struct rpc_client *client, int64_t stage_tokens)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Plan",
        .response = &longhaul__v1__plan_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    Longhaul__V1__PlanRequest request = LONGHAUL__V1__PLAN_REQUEST__INIT;
    Longhaul__V1__PlanOptions options = LONGHAUL__V1__PLAN_OPTIONS__INIT;
    Longhaul__V1__Method method = LONGHAUL__V1__METHOD__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    method.spelling = (char *)(size_t)one->asked_method; /* only read */
    options.method = &method;
    if (stage_tokens > 0) {
        options.optional_stage_tokens_case =
            LONGHAUL__V1__PLAN_OPTIONS__OPTIONAL_STAGE_TOKENS_STAGE_TOKENS;
        options.stage_tokens = stage_tokens;
    }
    request.length_case = LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT_TOKENS;
    request.prompt_tokens = one->prompt_tokens;
    request.max_tokens = one->answer_tokens + 1;
    request.options = &options;
    TRY(rpc_client_call(client, &stream, &reply, &call, &request.base));
    take_cache(one, (const Longhaul__V1__PlanResponse *)reply);
    rpc_stream_close(stream);
    return STATUS_OK;
}

enum status bench_case_prepare(struct bench_case *one, const struct sized_prompt_words *words,
                               int64_t stage_tokens)
{
    if (one->kind == BENCH_DECODE && one->prompt_tokens < sized_prompt_least(words))
        one->prompt_tokens = sized_prompt_least(words);
    const struct sized_prompt_args args = {.tokens = one->prompt_tokens, .seed = PROMPT_SEED};
    TRY(sized_prompt_make(&one->text, words, &args));
    return ask_plan(one, words->client, stage_tokens);
}

/* ---- the measurement ---- */

static void take_report(struct bench_case *one, const struct measured_request *request)
{
    const Longhaul__V1__Finished *finished = request->finished;
    snprintf(one->method, sizeof one->method, "%s", request->plan->method);
    snprintf(one->kernels, sizeof one->kernels, "%s", request->plan->kernels);
    one->workers = request->plan->workers;
    one->predicted_seconds = request->plan->seconds;
    one->sent_bytes = one->predicted_sent_bytes = one->memory_bytes = 0;
    for (size_t i = 0; i < finished->n_ranks; i++) {
        one->sent_bytes += finished->ranks[i]->sent_bytes;
        one->predicted_sent_bytes += finished->ranks[i]->predicted_sent_bytes;
        if (finished->ranks[i]->memory_bytes > one->memory_bytes)
            one->memory_bytes = finished->ranks[i]->memory_bytes;
    }
}

static enum status take_times(struct bench_case *one, const struct measured_request *request)
{
    const Longhaul__V1__Seconds *seconds = request->finished->seconds;
    if (seconds->prefill <= 0 || (one->answer_tokens > 0 && seconds->decode <= 0))
        return fail(STATUS_INTERNAL, "%s: the workers report no time", one->name);
    if (one->kind != BENCH_DECODE) {
        const int64_t cached = request->finished->usage->cached_tokens;
        if (cached != 0)
            return fail(STATUS_INTERNAL, "%s: %" PRId64 " tokens of the prompt were not read again",
                        one->name, cached);
        TRY(samples_add(&one->prefill_seconds, seconds->prefill));
        TRY(samples_add(&one->prefill_rate, (double)one->prompt_tokens / seconds->prefill));
        TRY(samples_add(&one->first_seconds,
                        measured_request_first_seconds(request, request->begin_ns)));
    }
    if (one->answer_tokens > 0) {
        TRY(samples_add(&one->decode_seconds, seconds->decode));
        TRY(samples_add(&one->decode_rate, (double)one->answer_tokens / seconds->decode));
    }
    return STATUS_OK;
}

enum status bench_case_measure(struct bench_case *one, struct rpc_client *client,
                               int64_t stage_tokens, bool counted)
{
    struct measured_request request;
    const struct measured_request_args args = {
        .client = client,
        .text = one->text,
        .prompt_tokens = one->prompt_tokens,
        .max_tokens = one->answer_tokens + 1,
        .method = one->asked_method,
        .no_prefix_reuse = one->kind != BENCH_DECODE,
        .draft = LONGHAUL__V1__DRAFT__DRAFT_NONE, /* a step's time is measured, not what it makes */
        .stage_tokens = stage_tokens,
    };
    if (counted)
        busy_watch_begin(&one->watch);
    enum status status = measured_request_run(&request, &args);
    if (counted)
        busy_watch_end(&one->watch);
    if (status == STATUS_OK && counted)
        status = take_times(one, &request);
    if (status == STATUS_OK)
        take_report(one, &request);
    measured_request_deinit(&request);
    return status;
}
