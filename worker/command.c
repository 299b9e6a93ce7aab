/* Owns the copy of one Run message. */
#include "worker/command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/choice_message.h"
#include "proto/clock.h"

static enum status copy_ids(struct command *command, const Longhaul__Control__V1__Run *run)
{
    const size_t bytes = run->n_token_ids * sizeof *command->ids;
    command->ids = malloc(bytes + 1);
    if (!command->ids)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt of %zu tokens",
                    run->n_token_ids);
    memcpy(command->ids, run->token_ids, bytes);
    command->count = (int64_t)run->n_token_ids;
    return STATUS_OK;
}

static enum status copy_positions(struct command *command, const Longhaul__Control__V1__Run *run)
{
    const size_t bytes = run->n_positions * sizeof *command->positions;
    if (bytes == 0)
        return STATUS_OK;
    if (run->n_positions != run->n_token_ids)
        return fail(STATUS_INVALID_ARGUMENT, "%zu positions for %zu tokens: give one for each",
                    run->n_positions, run->n_token_ids);
    command->positions = malloc(bytes);
    if (!command->positions)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu positions", run->n_positions);
    memcpy(command->positions, run->positions, bytes);
    return STATUS_OK;
}

/* Without memory the request runs all the same. */
static struct trace *make_trace(void)
{
    struct trace *trace = calloc(1, sizeof *trace);
    struct trace_event *events = calloc(TRACE_EVENTS_MAX, sizeof *events);
    if (!trace || !events) {
        free(trace);
        free(events);
        return NULL;
    }
    *trace = (struct trace){.events = events, .received_ns = clock_now_ns()};
    return trace;
}

static enum status copy_sampling(struct command *command,
                                 const Longhaul__Control__V1__RunSampling *sampling)
{
    const size_t count = sampling->n_bias_ids;
    if (count > SAMPLING_BIASES_MAX || sampling->n_biases != count)
        return fail(STATUS_INVALID_ARGUMENT, "%zu biases of %zu tokens; a worker takes up to %d",
                    sampling->n_biases, count, SAMPLING_BIASES_MAX);
    if (count > 0) {
        memcpy(command->bias_ids, sampling->bias_ids, count * sizeof *command->bias_ids);
        memcpy(command->biases, sampling->biases, count * sizeof *command->biases);
    }
    command->sampling = (struct sampling){
        .temperature = sampling->temperature,
        .top_k = sampling->top_k,
        .top_p = sampling->top_p,
        .min_p = sampling->min_p,
        .repetition_penalty = sampling->repetition_penalty,
        .seed = sampling->seed,
        .presence_penalty = sampling->presence_penalty,
        .frequency_penalty = sampling->frequency_penalty,
        .bias_count = (int32_t)count,
        .bias_ids = command->bias_ids,
        .biases = command->biases,
    };
    return STATUS_OK;
}

static enum engine_kind kind_of(const Longhaul__Control__V1__Run *run)
{
    switch (run->kind) {
    case LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SCORE:
        return ENGINE_SCORE;
    case LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SAVE:
        return ENGINE_SAVE;
    case LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_RESTORE:
        return ENGINE_RESTORE;
    default:
        return ENGINE_GENERATE;
    }
}

static enum status fill(struct command *command, const Longhaul__Control__V1__Run *run)
{
    const Longhaul__Control__V1__RunSampling *sampling = run->sampling;
    if (!run->choice || !sampling)
        return fail(STATUS_INTERNAL, "the coordinator sent a request without %s",
                    run->choice ? "sampling" : "a choice");
    if (run->n_stop_ids > COMMAND_STOP_IDS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "%zu stop ids; a worker takes at most %d",
                    run->n_stop_ids, COMMAND_STOP_IDS_MAX);
    command->kind = kind_of(run);
    command->max_tokens = run->max_tokens;
    command->min_tokens = run->min_tokens;
    TRY(copy_sampling(command, sampling));
    command->reuse_prefix = command->kind == ENGINE_GENERATE &&
                            !run->no_prefix_reuse && /* scores need every row */
                            run->n_positions == 0;
    command->logprobs = run->logprobs;
    command->likeliest = run->likeliest;
    command->drafts = run->drafts;
    command->goes_on_from = run->goes_on_from;
    command->stays = run->stays;
    command->stop_count = (int)run->n_stop_ids;
    for (int s = 0; s < command->stop_count; s++)
        command->stop_ids[s] = run->stop_ids[s];
    if (run->trace)
        command->trace = make_trace();
    if (run->deadline_ms > 0)
        command->deadline_ns = clock_after_ms(run->deadline_ms);
    TRY(choice_message_get(&command->choice, run->choice));
    TRY(copy_positions(command, run));
    return copy_ids(command, run);
}

enum status command_create(struct command **command, const Longhaul__Control__V1__Run *run)
{
    if (strlen(run->request_id) >= COMMAND_NAME_BYTES || strlen(run->tenant) >= COMMAND_NAME_BYTES)
        return fail(STATUS_INTERNAL,
                    "the coordinator sent a request whose name or tenant is too long");
    struct command *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    made->number = run->number;
    snprintf(made->request_id, sizeof made->request_id, "%s", run->request_id);
    snprintf(made->tenant, sizeof made->tenant, "%s", run->tenant);
    made->refused = fill(made, run);
    if (made->refused != STATUS_OK)
        snprintf(made->refusal, sizeof made->refusal, "%s", status_message());
    *command = made;
    return STATUS_OK;
}

void command_destroy(struct command *command)
{
    if (!command)
        return;
    if (command->trace)
        free(command->trace->events);
    free(command->trace);
    block_port_destroy(command->port);
    free(command->ids);
    free(command->positions);
    free(command);
}

struct engine_request command_request(const struct command *command)
{
    return (struct engine_request){
        .kind = command->kind,
        .refused = command->refused,
        .refusal = command->refusal,
        .choice = &command->choice.request,
        .ids = command->ids,
        .count = command->count,
        .positions = command->positions,
        .max_tokens = command->max_tokens,
        .min_tokens = command->min_tokens,
        .sampling = command->sampling,
        .stop_ids = command->stop_ids,
        .stop_count = command->stop_count,
        .tenant = command->tenant,
        .reuse_prefix = command->reuse_prefix,
        .logprobs = command->logprobs,
        .likeliest = command->likeliest,
        .draft_tokens = command->drafts ? MEMORY_DRAFT_ROWS : 0,
        .drafts_that_pay = true,
        .goes_on_from = command->goes_on_from,
        .stays = command->stays,
        .deadline_ns = command->deadline_ns,
        .trace = command->trace,
    };
}
