/* Owns a group of engines for the length of its requests. */
#include "tests/support/engine_ranks.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels.h"
#include "proto/model/model.h"
#include "proto/plan/chooser.h"
#include "tests/support/ranks.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/engine/transport/transport_nccl.h"

struct rank_case {
    const struct engine_case *wanted; /* [count] */
    struct engine_outcome *outcome;   /* [count] */
    int count;
    struct cuda_streams streams;
};

/* The one request of this rank, and its number, which counts the rank's. */
static _Thread_local struct engine_job current_job;
static _Thread_local uint64_t current_number;

static enum status find_job(void *context, uint64_t number, struct engine_job *job)
{
    (void)context;
    (void)number;
    *job = current_job;
    return STATUS_OK;
}

/* What a client does who loses patience. */
struct canceller {
    struct engine *engine;
    int64_t after_ns;
    uint64_t number;
    pthread_t thread;
    bool started;
    atomic_bool ended;
};

/* It may come before the request, and comes again. */
static void *cancel_later(void *argument)
{
    struct canceller *canceller = argument;
    const struct timespec wait = {.tv_sec = (time_t)(canceller->after_ns / 1000000000),
                                  .tv_nsec = (long)(canceller->after_ns % 1000000000)};
    nanosleep(&wait, NULL);
    while (!atomic_load(&canceller->ended)) {
        engine_cancel(canceller->engine, canceller->number, STATUS_CANCELLED);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return NULL;
}

struct request_case {
    struct engine *engine;
    struct transport *transport;
    const struct engine_case *wanted;
    struct engine_outcome *outcome;
    bool done;
    enum status status;
    char cause[512];
};

static void pass_progress(void *context, int64_t tokens_done, int64_t tokens)
{
    const struct request_case *request = context;
    (void)tokens;
    if (request->wanted->progress)
        request->wanted->progress(request->engine, request->transport, tokens_done);
}

static void keep_token(void *context, int32_t id, const struct logprobs *logprobs)
{
    struct engine_outcome *outcome = ((const struct request_case *)context)->outcome;
    if (logprobs)
        outcome->token_logprobs[outcome->id_count] = *logprobs;
    outcome->ids[outcome->id_count++] = id;
}

static void keep_scores(void *context, int64_t first, const float *logprobs, int64_t count)
{
    struct engine_outcome *outcome = ((const struct request_case *)context)->outcome;
    memcpy(outcome->logprobs + first, logprobs, (size_t)count * sizeof *logprobs);
    outcome->logprob_count += count;
}

static void keep_result(void *context, enum status status, const struct engine_result *result)
{
    struct request_case *request = context;
    request->outcome->results[request->transport->rank] = *result;
    request->done = true;
    request->status = status;
    snprintf(request->cause, sizeof request->cause, "%s", status_message());
}

/* What a device will be, before there is one. */
static enum status find_device(struct group_choice *group, const struct engine_case *wanted)
{
    const struct kernels *kernels =
        wanted->kernels ? kernels_find(wanted->kernels) : kernels_best();
    if (!wanted->gpus && !kernels)
        return fail(STATUS_INVALID_ARGUMENT, "no kernels are called %s", wanted->kernels);
    snprintf(group->kernels, sizeof group->kernels, "%s", wanted->gpus ? "cuda" : kernels->name);
    group->cache =
        !wanted->gpus && kernels->cache == DTYPE_F32 ? CHOICE_CACHE_F32 : CHOICE_CACHE_BF16;
    if (wanted->int8_cache)
        group->cache = CHOICE_CACHE_INT8;
    return STATUS_OK;
}

static enum status choose(struct choice *choice, const struct engine_case *wanted,
                          const struct model_shape *shape, const struct group_choice *group)
{
    const struct cost_table costs = cost_table_default();
    struct chooser_request request = {
        .workers = group->workers,
        .context_tokens =
            wanted->context_tokens ? wanted->context_tokens : wanted->count + wanted->max_tokens,
        .kernels = group->kernels,
        .cache = group->cache,
        .partition = wanted->partition - 1,
        .schedule = wanted->schedule - 1,
        .queries = wanted->queries - 1,
        .decode_split = wanted->decode_home ? 0 : wanted->decode_split - 1,
        .decode_home = wanted->decode_home,
        .stage_tokens = wanted->stage_tokens ? wanted->stage_tokens : -1,
        .shared_memory_bus = true,
    };
    struct partition_weights weights = {.count = group->workers};
    for (int r = 0; r < group->workers; r++)
        weights.parts[r] = (uint8_t)(2 * r + 1);
    if (wanted->weighed)
        request.weights = &weights;
    TRY(method_parse(&request.method, wanted->method ? wanted->method : "rope",
                     shape->trained_tokens));
    TRY(chooser_choose(choice, &request, shape, &costs));
    choice->group = *group;
    return STATUS_OK;
}

/* Rank 0 admits the request, and all take turns until it is done. */
static enum status run(struct request_case *context, const struct engine_request *request)
{
    const struct engine_observer observer = {context, pass_progress, keep_token, keep_scores,
                                             keep_result};
    current_job = (struct engine_job){request, &observer};
    current_number++;
    if (context->transport->rank == 0)
        TRY(engine_admit(context->engine, current_number, request, &observer));
    while (!context->done) {
        bool busy;
        TRY(engine_step(context->engine, &busy));
    }
    return context->status == STATUS_OK ? STATUS_OK : fail(context->status, "%s", context->cause);
}

/* As all ranks see it, whose slices may differ. */
static enum status find_shape(struct model_shape *shape, const struct engine *engine,
                              const struct engine_case *wanted)
{
    struct model *model;
    *shape = *engine_shape(engine);
    if (wanted->tensor <= 1)
        return STATUS_OK;
    TRY(model_open(&model, wanted->model_path));
    *shape = spec_shape(model_spec(model), 0);
    model_close(model);
    return STATUS_OK;
}

enum status engine_ranks_request(struct engine *engine, struct transport *transport,
                                 const struct engine_case *wanted, struct engine_outcome *outcome)
{
    struct request_case context = {
        .engine = engine, .transport = transport, .wanted = wanted, .outcome = outcome};
    struct choice choice;
    struct memory_plan plan;
    struct model_shape shape;
    TRY(find_shape(&shape, engine, wanted));
    TRY(choose(&choice, wanted, &shape, engine_group(engine)));
    memory_plan_make(&plan, engine_shape(engine), engine_group(engine), transport->rank,
                     engine_needs(engine));
    outcome->planned_bytes[transport->rank] = plan.total_bytes;
    if (transport->rank == 0)
        outcome->choice = choice;
    struct engine_request request = {
        .kind = wanted->kind,
        .refused = wanted->refused,
        .refusal = "no room here",
        .choice = &choice.request,
        .ids = wanted->ids,
        .positions = wanted->positions,
        .count = wanted->count,
        .max_tokens = wanted->max_tokens,
        .sampling = wanted->sampling,
        .reuse_prefix = wanted->reuse_prefix,
        .logprobs = wanted->logprobs,
        .likeliest = wanted->likeliest,
        .draft_tokens = wanted->draft_tokens,
        .times_parts = wanted->times_parts,
        .stop_ids = &wanted->stop_id,
        .stop_count = wanted->stop_id ? 1 : 0,
    };
    if (request.sampling.top_p == 0)
        request.sampling = (struct sampling){.top_p = 1, .repetition_penalty = 1};
    return run(&context, &request);
}

void engine_ranks_cancel(struct engine *engine)
{
    engine_cancel(engine, current_number, STATUS_CANCELLED);
}

struct engine_options engine_ranks_options(const char *kernels, int64_t context_tokens,
                                           const struct transport *transport,
                                           const struct cuda_streams *streams)
{
    enum { STEP_ROWS = 256, SPARE_SLOTS = 8 };
    struct group_choice group = group_choice_usual(transport->size);
    memory_group_size(&group, 1, context_tokens);
    group.stage_rows += context_tokens;
    group.step_rows = context_tokens < STEP_ROWS ? context_tokens : STEP_ROWS;
    group.pool_slots = BANDS_RECORDS_MAX * (context_tokens / group.panel_tokens + SPARE_SLOTS);
    return (struct engine_options){
        .kernels = kernels,
        .threads = 1,
        .streams = streams,
        .group = group,
        .source = {NULL, find_job},
    };
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* A group with room for any of these requests, alone. */
static enum status fit_group(struct group_choice *group, const struct engine_case *cases, int count,
                             const struct model *model)
{
    const struct model_shape shape = spec_shape(model_spec(model), 0);
    struct memory_need needs[ENGINE_RANKS_MOST];
    struct choice choice;
    TRY(find_device(group, cases));
    const struct group_choice empty = *group;
    for (int i = 0; i < count; i++) {
        struct group_choice fit = empty;
        TRY(choose(&choice, &cases[i], &shape, &fit));
        TRY(memory_need_make(needs, &choice, 0, fit.workers));
        memory_group_fit(&fit, needs, &choice.request);
        if (i == 0) {
            *group = fit;
            continue;
        }
        group->context_tokens = larger(group->context_tokens, fit.context_tokens);
        group->stage_rows = larger(group->stage_rows, fit.stage_rows);
        group->step_rows = larger(group->step_rows, fit.step_rows);
        group->pool_slots = larger(group->pool_slots, fit.pool_slots);
    }
    group->step_rows += MEMORY_DRAFT_ROWS;
    return STATUS_OK;
}

static enum status make_engine(struct engine **engine, const struct engine_case *cases, int count,
                               struct transport *transport, const struct cuda_streams *streams)
{
    struct engine_options options = {
        .kernels = cases->kernels,
        .int8_cache = cases->int8_cache,
        .threads = cases->threads ? cases->threads : 1,
        .streams = streams,
        .group = group_choice_usual(transport->size / (cases->tensor ? cases->tensor : 1)),
        .source = {NULL, find_job},
    };
    struct model *model;
    options.group.tensor = cases->tensor;
    TRY(model_open(&model, cases->model_path));
    enum status status = fit_group(&options.group, cases, count, model);
    if (status == STATUS_OK)
        status = engine_create(engine, model, transport, &options);
    model_close(model);
    return status;
}

enum status engine_ranks_play(struct engine_outcome *outcome, const struct engine_case *wanted,
                              struct transport *transport, const struct cuda_streams *streams)
{
    struct engine *engine = NULL;
    enum status status = make_engine(&engine, wanted, 1, transport, streams);
    if (wanted->delay_ns)
        transport_loopback_delay(transport, wanted->delay_ns);
    struct canceller canceller = {
        .engine = engine, .after_ns = wanted->cancel_after_ns, .number = current_number + 1};
    if (status == STATUS_OK && canceller.after_ns && transport->rank == 0 &&
        pthread_create(&canceller.thread, NULL, cancel_later, &canceller) == 0)
        canceller.started = true;
    if (status == STATUS_OK)
        status = engine_ranks_request(engine, transport, wanted, outcome);
    atomic_store(&canceller.ended, true);
    if (canceller.started)
        pthread_join(canceller.thread, NULL);
    /* All ranks left alike, and none needs to end the others. */
    if (status == STATUS_CANCELLED && engine_usable(engine)) {
        atomic_store(&outcome->cancelled, true);
        status = STATUS_OK;
    }
    if (status != STATUS_OK)
        transport_abort(transport, status_message()); /* nobody waits for this device's work */
    engine_destroy(engine);
    return status;
}

enum status engine_ranks_open(struct transport **transport, struct cuda_streams *streams,
                              const struct engine_gpus *gpus)
{
    struct transport *nccl;
    enum status status = STATUS_OK;
    TRY(cuda_streams_open(streams, gpus->runtime, gpus->kernels, (*transport)->local_rank,
                          (*transport)->local_size, true));
    if ((*transport)->size == 1)
        return STATUS_OK;
    TRY_ELSE(transport_nccl_create(&nccl, *transport, streams, gpus->nccl, NULL), close);
    *transport = nccl;
    return STATUS_OK;
close:
    cuda_streams_close(streams);
    return status;
}

static enum status open_streams(struct transport **transport, void *context)
{
    struct rank_case *rank_case = context;
    const struct engine_gpus *gpus = rank_case->wanted->gpus;
    return gpus ? engine_ranks_open(transport, &rank_case->streams, gpus) : STATUS_OK;
}

static void close_streams(void *context)
{
    cuda_streams_close(&((struct rank_case *)context)->streams);
}

/* One after another on one engine. */
static enum status play_all(struct transport *transport, const struct rank_case *rank_case,
                            const struct cuda_streams *streams)
{
    const struct engine_case *cases = rank_case->wanted;
    struct engine *engine = NULL;
    enum status status = make_engine(&engine, cases, rank_case->count, transport, streams);
    for (int i = 0; status == STATUS_OK && i < rank_case->count; i++)
        status = engine_ranks_request(engine, transport, &cases[i], &rank_case->outcome[i]);
    if (status != STATUS_OK)
        transport_abort(transport, status_message());
    engine_destroy(engine);
    return status;
}

static enum status play(struct transport *transport, void *context)
{
    const struct rank_case *rank_case = context;
    const struct cuda_streams *streams = rank_case->wanted->gpus ? &rank_case->streams : NULL;
    if (rank_case->count > 1)
        return play_all(transport, rank_case, streams);
    return engine_ranks_play(rank_case->outcome, rank_case->wanted, transport, streams);
}

void engine_outcome_init(struct engine_outcome *outcome, const struct engine_case *wanted)
{
    *outcome = (struct engine_outcome){
        .logprobs = calloc((size_t)wanted->count, sizeof(float)),
        .ids = calloc((size_t)wanted->max_tokens + 1, sizeof(int32_t)),
        .token_logprobs = calloc((size_t)wanted->max_tokens + 1, sizeof(struct logprobs)),
    };
}

enum status engine_ranks_run_all(struct engine_outcome outcomes[], const struct engine_case cases[],
                                 int count)
{
    static const struct ranks_setting setting = {open_streams, close_streams};
    struct rank_case players[ENGINE_RANKS_MOST];
    int ranks = cases->ranks ? cases->ranks : 1;
    const struct transport_options options = {
        .threads = cases->threads ? cases->threads : 1,
    };
    void *contexts[ENGINE_RANKS_MOST];
    for (int rank = 0; rank < ranks; rank++) {
        players[rank] = (struct rank_case){.wanted = cases, .outcome = outcomes, .count = count};
        contexts[rank] = &players[rank];
    }
    for (int i = 0; i < count; i++)
        engine_outcome_init(&outcomes[i], &cases[i]);
    return ranks_run_in(ranks, &options, &setting, play, contexts);
}

enum status engine_ranks_run(struct engine_outcome *outcome, const struct engine_case *wanted)
{
    enum status status = engine_ranks_run_all(outcome, wanted, 1);
    outcome->status = status;
    return status;
}

void engine_outcome_free(struct engine_outcome *outcome)
{
    free(outcome->logprobs);
    free(outcome->ids);
    free(outcome->token_logprobs);
    *outcome = (struct engine_outcome){0};
}
