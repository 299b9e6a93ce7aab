/* Owns one rank's device, memory and sequence. Promises that a failure of one rank ends the waits
 * of all. */
#include "worker/engine/engine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/model/model.h"
#include "proto/plan/cost.h"
#include "worker/engine/device/arena.h"
#include "worker/engine/device/device_cpu.h"
#include "worker/engine/device/device_cuda.h"
#include "worker/engine/forward.h"

struct engine {
    struct transport *transport;
    struct device *device;
    struct engine_options options;
    struct forward forward;
    struct forward_control control;
    uint32_t requests; /* run so far, this one included; alike on all ranks */
    bool broken;

    bool prepared;
    struct choice choice;
    struct memory_plan plan;
    struct arena *ids_arena;
    struct arena *scores_arena;
    int32_t *ids;      /* [context] */
    float *scores;     /* rank 0: [context] of the text */
    float *row_scores; /* [rows] of this rank's stage */
    void *sampler_memory;

    const struct engine_request *request; /* the running one */
    const struct engine_observer *observer;
    struct engine_result *result;
};

/* ---- making ---- */

enum status engine_create(struct engine **out, const struct model *model,
                          struct transport *transport, const struct engine_options *options)
{
    enum status status = STATUS_OK;
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the engine");
    const struct device_cpu_options device_options = {
        .kernels = options->kernels,
        .threads = options->threads,
        .local_rank = transport->local_rank,
        .local_size = transport->local_size,
    };
    engine->transport = transport;
    engine->options = *options;
    if (options->streams)
        TRY_ELSE(device_cuda_create(&engine->device, model, options->streams), undo);
    else
        TRY_ELSE(device_cpu_create(&engine->device, model, &device_options), undo);
    if (transport->rank == 0) {
        engine->sampler_memory = aligned_alloc(64, sampler_bytes(engine->device->shape.vocab));
        if (!engine->sampler_memory) {
            status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for sampling");
            goto undo;
        }
    }
    *out = engine;
    return STATUS_OK;
undo:
    engine_destroy(engine);
    return status;
}

static void release_memory(struct engine *engine)
{
    if (engine->prepared)
        forward_deinit(&engine->forward);
    arena_destroy(engine->ids_arena);
    arena_destroy(engine->scores_arena);
    engine->ids_arena = NULL;
    engine->scores_arena = NULL;
    engine->prepared = false;
}

void engine_destroy(struct engine *engine)
{
    if (!engine)
        return;
    release_memory(engine);
    device_destroy(engine->device);
    free(engine->sampler_memory);
    free(engine);
}

const struct model_shape *engine_shape(const struct engine *engine)
{
    return &engine->device->shape;
}

const struct memory_request *engine_needs(const struct engine *engine)
{
    return &engine->device->needs;
}

enum choice_cache engine_cache(const struct engine *engine)
{
    return engine->device->cache;
}

const char *engine_kernels(const struct engine *engine)
{
    return engine->device->kernels;
}

const char *engine_facts(const struct engine *engine)
{
    return engine->device->facts;
}

bool engine_usable(const struct engine *engine)
{
    return !engine->broken;
}

int64_t engine_last_active_ns(const struct engine *engine)
{
    return device_last_active_ns(engine->device);
}

void engine_cancel(struct engine *engine, enum status status)
{
    atomic_store(&engine->control.cancel_status, (int)status);
}

/* ---- memory ---- */

/* What this rank may take: its share of the host's free memory, the weights already taken
 * counted. */
static int64_t memory_limit(const struct engine *engine)
{
    if (engine->options.memory_bytes > 0)
        return engine->options.memory_bytes;
    if (engine->device->memory_bytes > 0)
        return engine->device->memory_bytes;
    int64_t free_bytes = (int64_t)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return free_bytes / engine->transport->local_size + engine->device->shape.weights_bytes;
}

/* Whether this choice was made for this engine; a peer with another variant would compute other
 * bits. */
static enum status check_choice(const struct engine *engine, const struct choice *choice)
{
    TRY(choice_check(choice));
    if (choice->group.workers != engine->transport->size)
        return fail(STATUS_FAILED_PRECONDITION, "the plan is for %d workers; this group has %d",
                    choice->group.workers, engine->transport->size);
    if (strcmp(choice->group.kernels, engine->device->kernels) != 0 ||
        choice->group.cache != engine->device->cache)
        return fail(STATUS_FAILED_PRECONDITION,
                    "the plan is for kernels %s; rank %d was started with %s",
                    choice->group.kernels, engine->transport->rank, engine->device->kernels);
    return STATUS_OK;
}

/* Makes the memory of a choice, unless it is there already. RESOURCE_EXHAUSTED, with the numbers,
 * when it does not fit. */
static enum status prepare(struct engine *engine, const struct choice *choice)
{
    enum status status = STATUS_OK;
    struct memory_plan plan;
    TRY(check_choice(engine, choice));
    if (engine->prepared && memcmp(choice, &engine->choice, sizeof *choice) == 0)
        return STATUS_OK;
    TRY(memory_plan_make(&plan, &engine->device->shape, choice, engine->transport->rank,
                         &engine->device->needs));
    release_memory(engine);
    TRY(memory_plan_fits(&plan, memory_limit(engine)));
    engine->choice = *choice;
    engine->plan = plan;
    TRY(device_prepare(engine->device, &engine->choice, &engine->plan));
    size_t score_bytes = (size_t)plan.bytes[MEMORY_SCORES];
    TRY_ELSE(arena_create(&engine->ids_arena, "ids", (size_t)plan.bytes[MEMORY_IDS]), undo);
    TRY_ELSE(arena_create(&engine->scores_arena, "scores", score_bytes), undo);
    void *ids;
    void *scores;
    TRY_ELSE(arena_take(engine->ids_arena, &ids, (size_t)plan.bytes[MEMORY_IDS]), undo);
    TRY_ELSE(arena_take(engine->scores_arena, &scores, score_bytes), undo);
    engine->ids = ids;
    engine->row_scores = scores;
    engine->scores = engine->row_scores + plan.rows;
    TRY_ELSE(forward_init(&engine->forward, engine->transport, engine->device, &engine->choice,
                          &engine->control, plan.cache_panels),
             undo);
    engine->prepared = true;
    return STATUS_OK;
undo:
    release_memory(engine);
    return status;
}

/* ---- accounts ---- */

static void read_bytes(const struct engine *engine, int64_t *sent, int64_t *received)
{
    const struct transport_counters *counters = &engine->transport->counters;
    *sent = 0;
    *received = 0;
    for (int channel = 0; channel < TRANSPORT_CHANNELS; channel++) {
        if (channel == TRANSPORT_VERDICT || channel == TRANSPORT_ORDER)
            continue;
        *sent += (int64_t)counters->sent_bytes[channel];
        *received += (int64_t)counters->received_bytes[channel];
    }
}

static void predict(struct engine *engine, const struct cost *cost)
{
    engine->result->predicted_sent_bytes += cost->sent_bytes;
    engine->result->predicted_received_bytes += cost->received_bytes;
}

static void predict_stage(struct engine *engine, bool replicated, struct span stage)
{
    const struct schedule *schedule = &engine->forward.schedule;
    const struct cost_table table = cost_table_default();
    int rank = engine->transport->rank;
    struct cost cost;
    if (replicated)
        cost_replicated(&cost, &engine->choice, &engine->device->shape, stage);
    else
        cost_rank(&cost, schedule, &engine->choice, &engine->device->shape, &table, rank);
    predict(engine, &cost);
    if (engine->request->kind == ENGINE_SCORE && !replicated) {
        cost_scores(&cost, schedule, rank);
        predict(engine, &cost);
    }
}

/* ---- score ---- */

/* Sends or receives the log-probabilities of one rank's owned rows. */
static enum status pass_scores(struct engine *engine, int rank)
{
    const struct schedule_rank *schedule = &engine->forward.schedule.ranks[rank];
    struct transport *transport = engine->transport;
    const float *row = engine->row_scores;
    for (int q = 0; q < schedule->query_count; q++) {
        struct span span = schedule->queries[q];
        size_t bytes = (size_t)(span.end - span.first) * sizeof(float);
        struct transport_request *request;
        if (q >= schedule->recomputed_count && rank == transport->rank) {
            if (rank == 0) {
                memcpy(engine->scores + span.first, row, bytes);
            } else {
                TRY(transport_send(transport, 0, TRANSPORT_SCORE, row, bytes, &request));
                TRY(transport_wait(transport, request));
            }
        } else if (q >= schedule->recomputed_count) {
            TRY(transport_receive(transport, rank, TRANSPORT_SCORE, engine->scores + span.first,
                                  bytes, &request));
            TRY(transport_wait(transport, request));
        }
        row += span.end - span.first;
    }
    return STATUS_OK;
}

static enum status score_sharded(struct engine *engine)
{
    if (engine->transport->rank != 0)
        return pass_scores(engine, engine->transport->rank);
    for (int rank = 0; rank < engine->transport->size; rank++)
        TRY(pass_scores(engine, rank));
    return STATUS_OK;
}

/* Every rank has every row of the stage; rank 0 keeps the results. */
static enum status score_replicated(struct engine *engine, struct span stage)
{
    if (engine->transport->rank != 0)
        return STATUS_OK;
    for (int64_t index = stage.first; index < stage.end && index + 1 < engine->request->count;
         index++) {
        bool gathered;
        TRY(forward_step_logits(&engine->forward, &gathered, index - stage.first));
        TRY(device_logprob(engine->device, &engine->scores[index], engine->ids[index + 1]));
        forward_look(&engine->forward, index, engine->scores[index]);
        transport_mark(engine->transport); /* the others wait for rank 0 meanwhile */
    }
    return STATUS_OK;
}

/* Rank 0 alone has seen the scores of a replicated stage. */
static enum status settle_scores(struct engine *engine)
{
    struct verdict verdict = {.non_finite = atomic_load(&engine->device->non_finite)};
    TRY(transport_broadcast(engine->transport, &verdict, sizeof verdict));
    if (verdict.non_finite == NON_FINITE_NONE)
        return STATUS_OK;
    return forward_stop(&engine->forward, &verdict, "");
}

static enum status score_stage(struct engine *engine, bool replicated, struct span stage)
{
    if (replicated) {
        TRY(score_replicated(engine, stage));
        TRY(settle_scores(engine));
    } else {
        TRY(score_sharded(engine));
    }
    int64_t end = stage.end < engine->request->count ? stage.end : engine->request->count - 1;
    if (engine->transport->rank == 0)
        engine->observer->scores(engine->observer->context, stage.first,
                                 engine->scores + stage.first, end - stage.first);
    return STATUS_OK;
}

/* ---- generate ---- */

/* The logits of the prompt's last row, as rank 0 finds them: *gathered in memory.logits, or in its
 * device's hands. */
static enum status first_logits(struct engine *engine, bool *gathered, bool replicated,
                                struct span stage)
{
    struct transport *transport = engine->transport;
    float *logits = engine->device->memory.logits;
    size_t bytes = (size_t)engine->device->shape.vocab * sizeof *logits;
    int64_t last = engine->request->count - 1;
    struct transport_request *request;
    struct cost cost;
    *gathered = false;
    if (replicated)
        return transport->rank == 0
                   ? forward_step_logits(&engine->forward, gathered, last - stage.first)
                   : STATUS_OK;
    int owner = ownership_owner(engine->forward.ownership, last);
    cost_logits(&cost, &engine->device->shape, owner, transport->rank);
    predict(engine, &cost);
    if (owner == transport->rank) {
        TRY(device_logits(engine->device, shard_rows_find(&engine->forward.shard, last)));
        if (owner == 0)
            return STATUS_OK;
        TRY(device_read_logits(engine->device, (struct span){0, engine->device->shape.vocab}));
        TRY(transport_send(transport, 0, TRANSPORT_STATE, logits, bytes, &request));
        return transport_wait(transport, request);
    }
    if (transport->rank != 0)
        return STATUS_OK;
    TRY(transport_receive(transport, owner, TRANSPORT_STATE, logits, bytes, &request));
    *gathered = true;
    return transport_wait(transport, request);
}

static bool is_stop(const struct engine_request *request, int32_t id)
{
    for (int s = 0; s < request->stop_count; s++)
        if (request->stop_ids[s] == id)
            return true;
    return false;
}

/* By what the device surveys of its logits, where that tells; else by the logits. *finite: they
 * are, and *id is chosen. */
static enum status choose(struct engine *engine, struct sampler *sampler, int32_t *id, bool *finite,
                          bool gathered)
{
    struct device *device = engine->device;
    struct logits_survey survey;
    bool chosen = false;
    *finite = true;
    if (!gathered) {
        TRY(device_survey(device, &survey, sampler_temperature(sampler)));
        *finite = sampler_choose(sampler, id, &chosen, &survey) == STATUS_OK;
        if (chosen || !*finite)
            return STATUS_OK;
        TRY(device_read_logits(device, (struct span){0, device->shape.vocab}));
    }
    *finite = sampler_next(sampler, id, device->memory.logits) == STATUS_OK;
    return STATUS_OK;
}

/* The next token of rank 0's verdict, or where its numbers are not finite. */
static enum status choose_finite(struct engine *engine, struct sampler *sampler, bool gathered,
                                 struct verdict *verdict)
{
    struct device *device = engine->device;
    const int64_t last = engine->request->count + engine->result->completion_tokens - 1;
    bool finite = atomic_load(&device->non_finite) == NON_FINITE_NONE;
    if (finite)
        TRY(choose(engine, sampler, &verdict->token, &finite, gathered));
    if (finite)
        return STATUS_OK;
    non_finite_note(&device->non_finite,
                    non_finite_place(device->shape.layers, NON_FINITE_INSIDE, last));
    verdict->non_finite = atomic_load(&device->non_finite);
    verdict->status = STATUS_INTERNAL;
    return STATUS_OK;
}

/* A choice leaves the logits as they were. */
static enum status tell_logprobs(struct engine *engine, struct logprobs *logprobs, int32_t id,
                                 bool gathered)
{
    struct device *device = engine->device;
    const int64_t vocab = device->shape.vocab;
    if (!gathered)
        TRY(device_read_logits(device, (struct span){0, vocab}));
    logprobs_make(logprobs, device->memory.logits, vocab, id, engine->request->likeliest);
    return STATUS_OK;
}

/* Rank 0 picks the next token and says whether it is the last; everyone hears it. */
static enum status decide(struct engine *engine, struct sampler *sampler, bool gathered,
                          struct verdict *verdict, struct logprobs *logprobs)
{
    const struct engine_request *request = engine->request;
    if (engine->transport->rank == 0) {
        enum status reason = forward_stop_status(&engine->forward);
        *verdict = (struct verdict){.status = (int32_t)reason, .non_finite = NON_FINITE_NONE};
        if (reason == STATUS_OK)
            TRY(choose_finite(engine, sampler, gathered, verdict));
        verdict->stop = verdict->status != STATUS_OK;
        if (!verdict->stop) {
            if (request->logprobs)
                TRY(tell_logprobs(engine, logprobs, verdict->token, gathered));
            verdict->stop = is_stop(request, verdict->token) ||
                            engine->result->completion_tokens + 1 == request->max_tokens;
        }
    }
    return transport_broadcast(engine->transport, verdict, sizeof *verdict);
}

/* `gathered` as first_logits says. */
static enum status generate(struct engine *engine, bool gathered, int64_t started_ns)
{
    const struct engine_request *request = engine->request;
    struct engine_result *result = engine->result;
    struct sampler *sampler = NULL;
    int64_t first_ns = 0;
    if (engine->transport->rank == 0) {
        sampler =
            sampler_init(engine->sampler_memory, engine->device->shape.vocab, &request->sampling);
        sampler_saw(sampler, engine->ids, request->count);
    }
    for (;;) {
        struct verdict verdict = {0};
        struct logprobs logprobs;
        TRY(decide(engine, sampler, gathered, &verdict, &logprobs));
        int64_t now = clock_now_ns();
        if (verdict.status != STATUS_OK)
            return forward_stop(&engine->forward, &verdict, "while decoding");
        int64_t index = request->count + result->completion_tokens++;
        engine->ids[index] = verdict.token;
        if (result->completion_tokens == 1) {
            first_ns = now;
            result->prefill_seconds = 1e-9 * (double)(now - started_ns);
        }
        result->decode_seconds = 1e-9 * (double)(now - first_ns);
        result->stopped_by_id = is_stop(request, verdict.token);
        if (engine->transport->rank == 0)
            engine->observer->token(engine->observer->context, verdict.token,
                                    request->logprobs ? &logprobs : NULL);
        if (verdict.stop)
            return STATUS_OK;
        struct cost cost;
        const struct cost_table table = cost_table_default();
        TRY(forward_token(&engine->forward, index));
        TRY(forward_step_logits(&engine->forward, &gathered, 0));
        cost_decode(&cost, &engine->choice, &engine->device->shape, &table, engine->transport->rank,
                    0);
        predict(engine, &cost);
    }
}

/* ---- running ---- */

/* All ranks begin a request or none does: a rank that cannot, whose own status `mine` is, must not
 * leave the others waiting. A failure that is not `agreed` is this rank's alone. */
static enum status begin_together(struct engine *engine, bool *agreed, enum status mine)
{
    struct transport *transport = engine->transport;
    struct verdict *all = calloc((size_t)transport->size, sizeof *all);
    enum status status = STATUS_OK;
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to begin a request");
    all[transport->rank].status = (int32_t)mine;
    TRY_ELSE(transport_gather_each(transport, &all[transport->rank], all, sizeof *all), end);
    *agreed = true;
    status = mine;
    for (int rank = 0; rank < transport->size && status == STATUS_OK; rank++)
        if (all[rank].status != STATUS_OK)
            status = fail((enum status)all[rank].status,
                          "rank %d cannot take the request; its log says why", rank);
end:
    free(all);
    return status;
}

static enum status check_request(const struct engine *engine, const struct engine_request *request)
{
    int64_t answer = request->kind == ENGINE_GENERATE ? request->max_tokens : 0;
    if (request->count < 1)
        return fail(STATUS_INVALID_ARGUMENT, "the prompt is empty: give at least one token");
    if (answer < 0)
        return fail(STATUS_INVALID_ARGUMENT, "%lld tokens to generate; give 0 or more",
                    (long long)answer);
    if (request->count > request->choice->request.context_tokens ||
        answer > request->choice->request.context_tokens - request->count)
        return fail(STATUS_OUT_OF_RANGE,
                    "%lld prompt tokens and %lld to generate are more than the context of %lld: "
                    "shorten them, or raise --context",
                    (long long)request->count, (long long)answer,
                    (long long)request->choice->request.context_tokens);
    for (int64_t i = 0; i < request->count; i++)
        if (request->ids[i] < 0 || request->ids[i] >= engine->device->shape.vocab)
            return fail(STATUS_INVALID_ARGUMENT, "token %lld is %d; the vocabulary has %lld",
                        (long long)i, request->ids[i], (long long)engine->device->shape.vocab);
    TRY(sampling_check_likeliest(request->likeliest, engine->device->shape.vocab));
    const char *field;
    return sampling_check(&request->sampling, &field);
}

static void report_progress(void *context, int64_t tokens_done)
{
    struct engine *engine = context;
    engine->observer->progress(engine->observer->context, tokens_done, engine->request->count);
}

static enum status run_stages(struct engine *engine, int64_t started_ns)
{
    const struct engine_request *request = engine->request;
    struct forward *forward = &engine->forward;
    struct span stage = {0, 0};
    bool replicated = false;
    while (stage.end < request->count) {
        stage = choice_stage(&engine->choice, stage.end, request->count);
        replicated = choice_stage_queries(&engine->choice, stage) == CHOICE_REPLICATED;
        TRY(forward_stage(forward, stage));
        if (request->kind == ENGINE_SCORE && !replicated)
            TRY(forward_score(forward, engine->row_scores, request->count));
        const bool is_last = stage.end >= request->count;
        TRY(forward_settle(forward, is_last || request->kind == ENGINE_SCORE));
        predict_stage(engine, replicated, stage);
        if (request->kind == ENGINE_SCORE)
            TRY(score_stage(engine, replicated, stage));
    }
    engine->result->prefill_seconds = 1e-9 * (double)(clock_now_ns() - started_ns);
    if (request->kind == ENGINE_SCORE || request->max_tokens == 0)
        return STATUS_OK;
    bool gathered;
    TRY(first_logits(engine, &gathered, replicated, stage));
    return generate(engine, gathered, started_ns);
}

/* After a failure of this rank alone nothing that its peers wait for will come. */
static void give_up(struct engine *engine)
{
    engine->broken = true;
    transport_abort(engine->transport, status_message());
}

static enum status begin(struct engine *engine, enum status mine)
{
    bool agreed = false;
    enum status status = begin_together(engine, &agreed, mine);
    if (status != STATUS_OK && !agreed)
        give_up(engine);
    return status;
}

enum status engine_refuse(struct engine *engine, enum status status)
{
    if (engine->broken)
        return fail(STATUS_FAILED_PRECONDITION, "this worker group has failed; start a new one");
    return begin(engine, status);
}

enum status engine_run(struct engine *engine, const struct engine_request *request,
                       const struct engine_observer *observer, struct engine_result *result)
{
    int64_t started_ns = clock_now_ns();
    int64_t sent, received;
    *result = (struct engine_result){0};
    if (engine->broken)
        return fail(STATUS_FAILED_PRECONDITION, "this worker group has failed; start a new one");
    enum status status = check_request(engine, request);
    if (status == STATUS_OK)
        status = prepare(engine, request->choice);
    TRY(begin(engine, status));
    engine->request = request;
    engine->observer = observer;
    engine->result = result;
    engine->requests++;
    engine->control.deadline_ns = request->deadline_ns;
    engine->device->times_parts = request->times_parts;
    engine->device->compute_seconds = 0;
    memset(engine->device->part_seconds, 0, sizeof engine->device->part_seconds);
    memcpy(engine->ids, request->ids, (size_t)request->count * sizeof *request->ids);
    forward_restart(&engine->forward, engine->ids, engine->requests);
    engine->forward.progress = report_progress;
    engine->forward.progress_context = engine;
    struct ring_times before = ring_times(engine->forward.ring);
    read_bytes(engine, &sent, &received);
    status = run_stages(engine, started_ns);
    read_bytes(engine, &result->sent_bytes, &result->received_bytes);
    result->sent_bytes -= sent;
    result->received_bytes -= received;
    struct ring_times after = ring_times(engine->forward.ring);
    result->exchange_wait_seconds = after.waited_seconds - before.waited_seconds;
    result->exchange_seconds = after.exchange_seconds - before.exchange_seconds;
    result->compute_seconds = engine->device->compute_seconds;
    memcpy(result->part_seconds, engine->device->part_seconds, sizeof result->part_seconds);
    result->memory_bytes = engine->plan.total_bytes;
    result->not_finite = status != STATUS_OK && engine->forward.not_finite;
    atomic_store(&engine->control.cancel_status, STATUS_OK);
    if (status != STATUS_OK && !engine->forward.stopped)
        give_up(engine);
    return status;
}
