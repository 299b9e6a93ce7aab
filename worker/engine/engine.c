/* Owns one rank's device, memory and sequences, and rank 0's queue of requests. Promises that all
 * ranks take the same turns, that a request ends on all of them alike, and that a failure of one
 * rank ends the waits of all. */
#include "worker/engine/engine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "proto/model/model.h"
#include "worker/engine/account.h"
#include "worker/engine/answers.h"
#include "worker/engine/next_id.h"
#include "worker/engine/device/device_cpu.h"
#include "worker/engine/device/device_cuda.h"
#include "worker/engine/engine_queue.h"
#include "worker/engine/forward.h"
#include "worker/engine/group_axes.h"
#include "worker/engine/places.h"
#include "worker/engine/pool_size.h"
#include "worker/engine/request_check.h"
#include "worker/engine/score.h"
#include "worker/engine/sequence.h"
#include "worker/engine/transfer.h"
#include "worker/engine/turn_post.h"
#include "worker/engine/weights_share.h"

/* Rows of a step: each answer's next token, and drafted ones. */
enum { CAUSE_BYTES = 512, ROWS_MOST = CHOICE_SEQUENCES_MAX + MEMORY_DRAFT_ROWS };

/* A request that comes, as far as this rank is concerned. */
struct comer {
    struct engine_job job; /* no observer: it has begun, or has ended */
    enum status mine;      /* not OK: this rank refuses */
    char cause[CAUSE_BYTES];
};

struct engine {
    struct transport *transport; /* of all ranks of the group */
    struct group_axes axes;
    struct weights_share share;
    struct device *device;
    struct engine_options options;
    struct forward forward;
    bool broken;

    struct places places;

    struct turn_post *post;
    const struct turn *turn; /* at hand */
    struct turn_memory memory;
    int32_t *beginnings;                /* [size, CHOICE_SEQUENCES_MAX] statuses, by rank */
    struct comer *comers;               /* [CHOICE_SEQUENCES_MAX] of the turn */
    struct verdict verdicts[ROWS_MOST]; /* of the turn's rows */
    struct logprobs logprobs[ROWS_MOST];
    struct draft_pace pace; /* rank 0's */

    pthread_mutex_t lock; /* of what follows, as far as other threads cancel */
    int live_count;
    struct sequence *live[CHOICE_SEQUENCES_MAX];            /* in the order in which they came */
    struct turn_candidate candidates[CHOICE_SEQUENCES_MAX]; /* [live_count], rank 0's */
    struct engine_queue queue;                              /* rank 0's */
};

/* ---- memory ---- */

/* Makes all memory. OUT_OF_RANGE, with the numbers, when it does not fit. */
static enum status prepare(struct engine *engine)
{
    struct memory_plan plan;
    struct device *device = engine->device;
    struct group_choice *group = &engine->options.group;
    const int rank = engine->transport->rank;
    const int64_t limit_bytes =
        pool_size_limit(device, engine->transport, engine->options.memory_bytes,
                        weights_share_elsewhere(&engine->share, device->shape.weights_bytes));
    group->cache = device->cache;
    snprintf(group->kernels, sizeof group->kernels, "%s", device->kernels);
    if (group->pool_slots == 0)
        TRY(pool_size_agree(group, device, engine->transport, limit_bytes));
    memory_plan_make(&plan, &device->shape, group, rank, &device->needs);
    TRY(memory_plan_fits(&plan, limit_bytes));
    TRY(device_prepare(device, group, &plan));
    return places_init(&engine->places, device, &plan, rank / group_choice_tensor(group));
}

/* ---- making ---- */

static enum status make_lists(struct engine *engine)
{
    const size_t ranks = (size_t)engine->transport->size;
    TRY(turn_post_create(&engine->post, engine->transport));
    engine->turn = turn_post_turn(engine->post);
    engine->beginnings = calloc(ranks * CHOICE_SEQUENCES_MAX, sizeof *engine->beginnings);
    engine->comers = calloc(CHOICE_SEQUENCES_MAX, sizeof *engine->comers);
    if (engine->beginnings && engine->comers)
        return STATUS_OK;
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the turns of %zu ranks", ranks);
}

enum status engine_create(struct engine **out, const struct model *model,
                          struct transport *transport, const struct engine_options *options)
{
    enum status status = STATUS_OK;
    struct tensor_slice slice;
    TRY(group_axes_slice(&slice, model, &options->group, transport, options->streams != NULL));
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the engine");
    const struct device_cpu_options device_options = {
        options->kernels, options->int8_cache,  options->binding,      options->threads,
        &slice,           &engine->share.store, transport->local_rank, transport->local_size,
    };
    engine->transport = transport;
    engine->options = *options;
    pthread_mutex_init(&engine->lock, NULL);
    const struct weights_share_args sharing = {model, &slice, options->kernels, options->binding,
                                               options->streams != NULL};
    TRY_ELSE(weights_share_open(&engine->share, transport, &sharing), undo);
    if (options->streams)
        TRY_ELSE(device_cuda_create(&engine->device, model, options->streams), undo);
    else
        TRY_ELSE(device_cpu_create(&engine->device, model, &device_options), undo);
    TRY_ELSE(weights_share_settle(&engine->share), undo);
    weights_share_close(&engine->share);
    TRY_ELSE(prepare(engine), undo);
    TRY_ELSE(make_lists(engine), undo);
    TRY_ELSE(group_axes_split(&engine->axes, &options->group, transport), undo);
    TRY_ELSE(forward_init(&engine->forward, &engine->axes, engine->device), undo);
    *out = engine;
    return STATUS_OK;
undo:
    engine_destroy(engine);
    return status;
}

static void discard(struct engine *engine, struct sequence *sequence)
{
    places_end(&engine->places, sequence);
    free(sequence);
}

void engine_destroy(struct engine *engine)
{
    if (!engine)
        return;
    for (int s = 0; s < engine->live_count; s++)
        discard(engine, engine->live[s]);
    forward_deinit(&engine->forward);
    places_deinit(&engine->places);
    device_destroy(engine->device);
    pthread_mutex_destroy(&engine->lock);
    turn_post_destroy(engine->post, !engine->broken);
    free(engine->beginnings);
    free(engine->comers);
    engine_queue_deinit(&engine->queue);
    group_axes_deinit(&engine->axes);
    weights_share_close(&engine->share);
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

int64_t engine_memory_bytes(const struct engine *engine)
{
    return engine->places.plan.total_bytes;
}

const struct group_choice *engine_group(const struct engine *engine)
{
    return &engine->options.group;
}

int64_t engine_pool_free(struct engine *engine)
{
    places_forget_prefixes(&engine->places);
    return panel_pool_free(engine->places.pool);
}

int engine_weight_sharers(const struct engine *engine)
{
    return engine->share.sharers;
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

void engine_cancel(struct engine *engine, uint64_t number, enum status status)
{
    pthread_mutex_lock(&engine->lock);
    for (int s = 0; s < engine->live_count; s++)
        if (engine->live[s]->number == number)
            atomic_store(&engine->live[s]->cancel_status, (int)status);
    engine_queue_cancel(&engine->queue, number, status);
    pthread_mutex_unlock(&engine->lock);
}

/* ---- going ---- */

/* Takes a sequence out of the engine; its request is done. */
static void drop(struct engine *engine, int which, enum status status)
{
    struct sequence *sequence = engine->live[which];
    const struct engine_job job = sequence->job;
    struct engine_result result = sequence_result(sequence, engine->transport);
    result.memory_bytes = engine->places.plan.total_bytes;
    result.not_finite = status != STATUS_OK && engine->forward.not_finite;
    pthread_mutex_lock(&engine->lock);
    engine->live_count--;
    for (int s = which; s < engine->live_count; s++) {
        engine->live[s] = engine->live[s + 1];
        engine->candidates[s] = engine->candidates[s + 1];
    }
    pthread_mutex_unlock(&engine->lock);
    if (engine->forward.sequence == sequence)
        engine->forward.sequence = NULL;
    discard(engine, sequence);
    job.observer->done(job.observer->context, status, &result);
}

/* After a failure of this rank alone nothing that its peers wait for will come. */
static enum status give_up(struct engine *engine, enum status status)
{
    char cause[CAUSE_BYTES];
    snprintf(cause, sizeof cause, "%s", status_message());
    engine->broken = true;
    transport_abort(engine->transport, cause);
    while (engine->live_count > 0)
        drop(engine, 0, fail(STATUS_UNAVAILABLE, "%s", cause));
    for (int a = 0; engine->transport->rank != 0 && a < CHOICE_SEQUENCES_MAX; a++) {
        const struct engine_observer *observer = engine->comers[a].job.observer;
        engine->comers[a].job.observer = NULL;
        if (observer)
            observer->done(observer->context, fail(STATUS_UNAVAILABLE, "%s", cause),
                           &(struct engine_result){0});
    }
    while (engine->queue.count > 0) {
        pthread_mutex_lock(&engine->lock);
        const struct engine_observer *observer =
            engine_queue_take(&engine->queue, engine->queue.list[0].number).job.observer;
        pthread_mutex_unlock(&engine->lock);
        observer->done(observer->context, fail(STATUS_UNAVAILABLE, "%s", cause),
                       &(struct engine_result){0});
    }
    return fail(status, "%s", cause);
}

/* ---- coming ---- */

enum status engine_admit(struct engine *engine, uint64_t number,
                         const struct engine_request *request,
                         const struct engine_observer *observer)
{
    const struct choice choice = {.group = engine->options.group, .request = *request->choice};
    struct engine_waiting waiting = {.number = number, .job = {request, observer}};
    if (engine->broken)
        return fail(STATUS_FAILED_PRECONDITION, "this worker group has failed; start a new one");
    /* What cannot be planned is refused when its turn comes. */
    if (request->refused == STATUS_OK && choice_check(&choice) == STATUS_OK &&
        memory_context_check(&choice) == STATUS_OK)
        TRY(places_slots(&engine->places, &waiting.slots, request));
    pthread_mutex_lock(&engine->lock);
    const enum status status = engine_queue_add(&engine->queue, &waiting);
    pthread_mutex_unlock(&engine->lock);
    return status;
}

enum status engine_let_go(struct engine *engine, uint64_t number)
{
    return engine_queue_let_go(&engine->queue, number);
}

static enum status cut_short(enum status reason)
{
    return fail(reason, "the request was cut short before it began");
}

/* A request that is cut short from here on is so as a sequence: its turn says that it begins. */
static enum status meet(struct engine *engine, struct comer *comer, uint64_t number, bool ends)
{
    const struct engine_source *source = &engine->options.source;
    if (engine->transport->rank == 0) {
        pthread_mutex_lock(&engine->lock);
        const struct engine_waiting waiting = *engine_queue_find(&engine->queue, number);
        pthread_mutex_unlock(&engine->lock);
        comer->job = waiting.job;
        if (ends)
            comer->mine = cut_short(engine_queue_stop_status(&waiting));
    } else {
        TRY(source->find(source->context, number, &comer->job));
    }
    if (!ends)
        comer->mine = request_check(comer->job.request, &engine->places);
    if (comer->mine != STATUS_OK)
        snprintf(comer->cause, sizeof comer->cause, "%s", status_message());
    return STATUS_OK;
}

/* What becomes of the turn's request `a`: the first refusal, this rank's own in its words. */
static enum status agree(const struct engine *engine, int a, const struct comer *comer)
{
    if (comer->mine != STATUS_OK)
        return fail(comer->mine, "%s", comer->cause);
    for (int rank = 0; rank < engine->transport->size; rank++) {
        const enum status status = (enum status)engine->beginnings[rank * CHOICE_SEQUENCES_MAX + a];
        if (status == STATUS_CANCELLED || status == STATUS_DEADLINE_EXCEEDED)
            return cut_short(status);
        if (status != STATUS_OK)
            return fail(status, "rank %d cannot take the request; its log says why", rank);
    }
    return STATUS_OK;
}

/* Adds what was promised to the turn's requests after `a`, which rank 0 let in together. */
static enum status promise_after(const struct engine *engine, int64_t *promised, int a)
{
    for (int b = a + 1; b < engine->turn->admit_count; b++)
        if (agree(engine, b, &engine->comers[b]) == STATUS_OK)
            TRY(places_promise(&engine->places, promised, engine->comers[b].job.request));
    return STATUS_OK;
}

/* The sequence of the turn's request `a`, which no rank refuses. */
static enum status make_sequence(struct engine *engine, struct sequence **made, int a)
{
    const struct engine_job *job = &engine->comers[a].job;
    const struct choice choice = {engine->options.group, *job->request->choice};
    struct sequence_start start = {engine->turn->admits[a], job, &choice, 0, engine->transport};
    TRY(promise_after(engine, &start.promised, a));
    struct sequence *sequence = malloc(sizeof *sequence);
    if (!sequence)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a sequence");
    const enum status status = places_begin(&engine->places, sequence, &start);
    *made = status == STATUS_OK ? sequence : NULL;
    if (status != STATUS_OK)
        free(sequence);
    return status;
}

/* From rank 0's queue to those that are served; elsewhere from nowhere. NULL: it does not begin. */
static void move_in(struct engine *engine, struct sequence *sequence, uint64_t number)
{
    enum status cancel_status = STATUS_OK;
    pthread_mutex_lock(&engine->lock);
    if (engine->transport->rank == 0)
        cancel_status = engine_queue_take(&engine->queue, number).cancel_status;
    if (sequence) {
        const int which = engine->live_count++;
        engine->live[which] = sequence;
        engine->candidates[which] = (struct turn_candidate){
            .number = number,
            .split = sequence->choice.request.decode_split,
            .home = sequence->choice.request.decode_home,
            .served = turn_clock(engine->candidates, which),
        };
        atomic_store(&sequence->cancel_status, (int)cancel_status);
    }
    pthread_mutex_unlock(&engine->lock);
}

/* All ranks begin a request or none does: each has checked it before one makes room for it, so
 * that their prefixes stay alike. What fails afterwards is the rank's failure. */
static enum status begin_all(struct engine *engine)
{
    const struct turn *turn = engine->turn;
    struct comer *comers = engine->comers;
    struct transport *transport = engine->transport;
    int32_t *mine = engine->beginnings + transport->rank * CHOICE_SEQUENCES_MAX;
    for (int a = 0; a < turn->admit_count; a++) {
        comers[a] = (struct comer){0};
        TRY(meet(engine, &comers[a], turn->admits[a], turn->ends[a]));
        mine[a] = (int32_t)comers[a].mine;
    }
    TRY(transport_gather_each(transport, mine, engine->beginnings,
                              CHOICE_SEQUENCES_MAX * sizeof *mine));
    for (int a = 0; a < turn->admit_count; a++) {
        const struct engine_observer *observer = comers[a].job.observer;
        const enum status status = agree(engine, a, &comers[a]);
        struct sequence *sequence = NULL;
        if (status == STATUS_OK)
            TRY(make_sequence(engine, &sequence, a));
        move_in(engine, sequence, turn->admits[a]);
        comers[a].job.observer = NULL;
        if (status != STATUS_OK)
            observer->done(observer->context, status, &(struct engine_result){0});
    }
    return STATUS_OK;
}

/* ---- a turn ---- */

static int find_live(const struct engine *engine, uint64_t number)
{
    int which = 0;
    while (which < engine->live_count && engine->live[which]->number != number)
        which++;
    return which;
}

/* An answer that goes on after its first token, where rank 0 is to decode alone. */
static enum status go_home(struct engine *engine, struct sequence *sequence)
{
    struct account account;
    if (!choice_is_home(&sequence->choice))
        return STATUS_OK;
    account_open(&account, &engine->forward);
    account_predict_home(&engine->forward, sequence, &sequence->result);
    TRY(forward_go_home(&engine->forward, sequence));
    account_close(&account, &engine->forward, &sequence->result, 1, 1);
    return STATUS_OK;
}

/* Acts on rank 0's verdict on a row of a sequence. */
static enum status hear_verdict(struct engine *engine, int which, int64_t row)
{
    const struct verdict *verdict = &engine->verdicts[row];
    struct sequence *sequence = engine->live[which];
    const struct engine_job *job = &sequence->job;
    if (verdict->status != STATUS_OK) {
        drop(engine, which, forward_stop(&engine->forward, verdict, "while decoding"));
        return STATUS_OK;
    }
    const bool begins = !sequence_decodes(sequence);
    if (begins)
        TRY(places_keep_prefix(&engine->places, sequence));
    sequence_take(sequence, verdict->token);
    if (engine->transport->rank == 0)
        job->observer->token(job->observer->context, verdict->token,
                             job->request->logprobs ? &engine->logprobs[row] : NULL);
    if (verdict->stop)
        drop(engine, which, STATUS_OK);
    else if (begins)
        TRY(go_home(engine, sequence));
    return STATUS_OK;
}

/* The verdicts on a sequence's rows, from `row` on: on the drafted ones as far as they came true,
 * and on one more. The others are forgotten. */
static enum status hear_rows(struct engine *engine, int which, int64_t row, const int32_t *drafts,
                             int32_t drafted)
{
    struct sequence *sequence = engine->live[which];
    int32_t ahead = 0;
    sequence->result.drafted_tokens += drafted;
    for (bool right = true; right; ahead += right) {
        const struct verdict *verdict = &engine->verdicts[row + ahead];
        right = answers_came_true(verdict, drafts, drafted, ahead);
        sequence->result.accepted_tokens += right;
        TRY(hear_verdict(engine, which, row + ahead));
        if (verdict->stop)
            return STATUS_OK;
    }
    if (ahead < drafted)
        forward_retreat(sequence, sequence->passed - (drafted - ahead));
    return STATUS_OK;
}

/* What rank 0 has decided for the turn's rows, on all ranks. */
static enum status hear_verdicts(struct engine *engine)
{
    const struct turn *turn = engine->turn;
    const int32_t *drafts = turn->drafts;
    int64_t row = 0;
    TRY(transport_broadcast(engine->transport, engine->verdicts,
                            (size_t)turn_rows(turn) * sizeof *engine->verdicts));
    for (int r = 0; r < turn->row_count; r++) {
        TRY(hear_rows(engine, find_live(engine, turn->rows[r]), row, drafts, turn->drafted[r]));
        drafts += turn->drafted[r];
        row += 1 + turn->drafted[r];
    }
    return STATUS_OK;
}

/* Passes the next stage of its prompt, and finds its scores. */
static enum status pass_stage(struct engine *engine, struct sequence *sequence, struct span stage,
                              bool replicated)
{
    const struct engine_request *request = sequence->job.request;
    struct forward *forward = &engine->forward;
    const bool scores = request->kind == ENGINE_SCORE;
    const bool is_last = stage.end >= request->count;
    TRY(forward_stage(forward, stage));
    if (scores && !replicated)
        TRY(forward_score(forward, engine->places.scores.rows, request->count));
    TRY(forward_settle(forward, is_last || scores));
    account_predict_stage(forward, &sequence->result, replicated, stage);
    if (scores)
        TRY(score_stage(forward, &engine->places.scores, replicated, stage));
    sequence->passed = stage.end;
    return STATUS_OK;
}

/* Whether the sequence goes on to an answer after its prompt's last stage; then rank 0 has decided
 * on its first id. */
static enum status end_prompt(struct engine *engine, struct sequence *sequence, bool *goes_on,
                              bool replicated, struct span stage)
{
    const struct engine_request *request = sequence->job.request;
    struct forward *forward = &engine->forward;
    struct next_id_logits at = {0};
    *goes_on = request->kind == ENGINE_GENERATE && request->max_tokens > 0;
    if (!*goes_on)
        return STATUS_OK;
    if (!replicated)
        account_predict_logits(forward, &sequence->result);
    TRY(next_id_first_logits(forward, &at.gathered, replicated, stage));
    if (engine->transport->rank != 0)
        return STATUS_OK;
    return next_id_decide(forward, sequence, &at, &engine->verdicts[0], &engine->logprobs[0]);
}

/* Whom a turn of several sequences is noted for: the first that asks; NULL: nobody. */
static const struct sequence *find_traced(struct engine *engine, int first, int end)
{
    for (int r = first; r < end; r++) {
        const struct sequence *sequence = engine->live[find_live(engine, engine->turn->rows[r])];
        if (sequence->job.request->trace)
            return sequence;
    }
    return NULL;
}

/* Some of the keys that are saved or restored, on all ranks. */
static enum status take_transfer(struct engine *engine, int which)
{
    enum { WAIT_MS = 20 }; /* for blocks, while there is nothing else to do */
    struct sequence *sequence = engine->live[which];
    struct transfer_turn turn = {.stop = sequence_stop_status(sequence),
                                 .wait_ms = engine->live_count == 1 ? WAIT_MS : 0};
    if (!sequence->transfer)
        TRY(transfer_create(&engine->forward, sequence));
    TRY(transfer_take_turn(sequence->transfer, &turn, engine->transport));
    if (!turn.ended)
        return STATUS_OK;
    if (turn.status == STATUS_OK && sequence->job.request->stays)
        TRY(places_stay(&engine->places, sequence));
    drop(engine, which, turn.status == STATUS_OK ? STATUS_OK : fail(turn.status, "%s", turn.cause));
    return STATUS_OK;
}

static enum status take_stage(struct engine *engine)
{
    const int which = find_live(engine, engine->turn->rows[0]);
    struct sequence *sequence = engine->live[which];
    if (sequence_transfers(sequence))
        return take_transfer(engine, which);
    const struct span stage = sequence_stage(sequence);
    const bool replicated = choice_stage_queries(&sequence->choice, stage) == CHOICE_REPLICATED;
    const bool is_last = stage.end >= sequence->job.request->count;
    bool goes_on = false;
    struct account account;
    engine->device->times_parts = sequence->job.request->times_parts;
    struct trace *trace = engine->device->trace = sequence->job.request->trace;
    const int64_t begin_ns = trace_now(trace);
    account_open(&account, &engine->forward);
    forward_turn(&engine->forward, sequence);
    enum status status = pass_stage(engine, sequence, stage, replicated);
    if (replicated && stage.first < sequence->sharded_end)
        sequence->sharded_end = stage.first;
    if (status == STATUS_OK && is_last)
        status = end_prompt(engine, sequence, &goes_on, replicated, stage);
    account_close(&account, &engine->forward, &sequence->result, 1, 1);
    trace_span(trace, TRACE_STAGE, -1, begin_ns, stage.end - stage.first);
    if (status != STATUS_OK && !engine->forward.stopped)
        return status;
    if (goes_on && status == STATUS_OK)
        return hear_verdicts(engine);
    if (status == STATUS_OK && is_last && sequence->job.request->stays)
        TRY(places_stay(&engine->places, sequence));
    sequence->result.prefill_seconds =
        status == STATUS_OK ? clock_seconds_since(sequence->started_ns) : 0;
    if (is_last || status != STATUS_OK)
        drop(engine, which, status);
    return STATUS_OK;
}

/* Whether the sequence's next stage may be passed with those of others: where nothing travels, and
 * an answer follows. */
static bool joins(const struct engine *engine, const struct sequence *sequence)
{
    const struct engine_request *request = sequence->job.request;
    const struct span stage = sequence_stage(sequence);
    return engine->transport->size == 1 && engine->device->stage_sequences > 1 &&
           request->kind == ENGINE_GENERATE && request->max_tokens > 0 &&
           stage.end == request->count &&
           choice_stage_queries(&sequence->choice, stage) == CHOICE_SHARDED;
}

/* The last stages of several prompts, and the first ids of their answers. */
static enum status take_stages(struct engine *engine)
{
    const struct turn *turn = engine->turn;
    struct forward *forward = &engine->forward;
    struct sequence *sequences[CHOICE_SEQUENCES_MAX];
    struct next_id_logits at = {0};
    struct account account;
    engine->device->times_parts = false;
    for (int r = 0; r < turn->row_count; r++) {
        sequences[r] = engine->live[find_live(engine, turn->rows[r])];
        engine->device->times_parts |= sequences[r]->job.request->times_parts;
    }
    const struct sequence *traced = find_traced(engine, 0, turn->row_count);
    struct trace *trace = engine->device->trace = traced ? traced->job.request->trace : NULL;
    const struct span stage = traced ? sequence_stage(traced) : (struct span){0, 0};
    const int64_t begin_ns = trace_now(trace);
    account_open(&account, forward);
    TRY(forward_join(forward, sequences, turn->row_count));
    trace_span(trace, TRACE_STAGE, -1, begin_ns, stage.end - stage.first);
    for (; at.row < turn->row_count; at.row++) {
        account_close(&account, forward, &sequences[at.row]->result, 1, turn->row_count);
        TRY(next_id_decide(forward, sequences[at.row], &at, &engine->verdicts[at.row],
                           &engine->logprobs[at.row]));
    }
    return hear_verdicts(engine);
}

/* The tokens of the turn's sequences [first, first + count) in a step, drafted ones among them. */
static int64_t make_parts(struct engine *engine, struct forward_part *parts, int first, int count)
{
    const struct turn *turn = engine->turn;
    const int32_t *drafts = turn->drafts;
    int64_t rows = 0;
    engine->device->times_parts = false;
    for (int r = 0; r < first + count; drafts += turn->drafted[r], r++) {
        if (r < first)
            continue;
        struct sequence *sequence = engine->live[find_live(engine, turn->rows[r])];
        sequence_guess(sequence, drafts, turn->drafted[r]);
        parts[r - first] = (struct forward_part){sequence, 1 + turn->drafted[r]};
        rows += parts[r - first].rows;
        engine->device->times_parts |= sequence->job.request->times_parts;
    }
    return rows;
}

/* The next tokens of the turn's sequences [first, end), in one step, whose rows are the turn's from
 * *row on; moves *row behind them. */
static enum status step_rows(struct engine *engine, int64_t *row, int first, int end)
{
    struct forward_part parts[CHOICE_SEQUENCES_MAX];
    const int64_t before = *row;
    *row += make_parts(engine, parts, first, end - first);
    const struct sequence *traced = find_traced(engine, first, end);
    engine->device->trace = traced ? traced->job.request->trace : NULL;
    return answers_step(&engine->forward, parts, end - first, engine->verdicts + before,
                        engine->logprobs + before);
}

/* The answers' next tokens, as many sequences in a step as the device takes. */
static enum status take_step(struct engine *engine)
{
    const struct turn *turn = engine->turn;
    const int most = engine->device->step_sequences;
    const int64_t begin_ns = clock_now_ns();
    int64_t row = 0;
    for (int first = 0; first < turn->row_count; first += most) {
        const int end = first + most < turn->row_count ? first + most : turn->row_count;
        TRY(step_rows(engine, &row, first, end));
    }
    draft_pace_note(&engine->pace, row, row - turn->row_count, clock_seconds_since(begin_ns));
    return hear_verdicts(engine);
}

/* What a step passes on a guess, as far as there is room. A device that records one token at a time
 * has none. */
static void compose_drafts(struct engine *engine)
{
    struct turn *turn = turn_post_turn(engine->post);
    int32_t *drafts = turn->drafts;
    int64_t room = engine->options.group.step_rows - turn->row_count;
    if (room > MEMORY_DRAFT_ROWS)
        room = MEMORY_DRAFT_ROWS;
    if (turn->kind != TURN_STEP || engine->device->step_sequences == 1)
        return;
    for (int r = 0; r < turn->row_count; r++) {
        struct sequence *sequence = engine->live[find_live(engine, turn->rows[r])];
        turn->drafted[r] =
            (int32_t)sequence_draft(sequence, drafts, &engine->pace, turn_rows(turn), room);
        drafts += turn->drafted[r];
        room -= turn->drafted[r];
    }
}

/* Rank 0's turn: residents go that nobody waits for. Requests that are cut short come first, to
 * end; others while there is room. */
static void compose(struct engine *engine)
{
    struct turn *turn = turn_post_turn(engine->post);
    struct places_promised promised = {0};
    turn->goer_count = engine_queue_goers(&engine->queue, turn->goers, CHOICE_SEQUENCES_MAX);
    turn->admit_count = 0;
    pthread_mutex_lock(&engine->lock);
    bool room = true;
    for (int w = 0; w < engine->queue.count && turn->admit_count < CHOICE_SEQUENCES_MAX; w++) {
        const struct engine_waiting *waiting = &engine->queue.list[w];
        const bool ends = engine_queue_stop_status(waiting) != STATUS_OK;
        const bool refused = waiting->slots > engine->options.group.pool_slots;
        room = room && (ends || refused || places_fit(&engine->places, waiting->slots, &promised));
        if (!ends && !refused && !room)
            continue;
        turn->ends[turn->admit_count] = ends;
        turn->admits[turn->admit_count++] = waiting->number;
    }
    pthread_mutex_unlock(&engine->lock);
    for (int s = 0; s < engine->live_count; s++) {
        const struct sequence *sequence = engine->live[s];
        const struct span stage = sequence_stage(sequence);
        engine->candidates[s].decodes = sequence_decodes(sequence);
        engine->candidates[s].joins = joins(engine, sequence);
        engine->candidates[s].next_tokens = stage.end - stage.first;
    }
    const struct group_choice *group = &engine->options.group;
    const int64_t block_rows = engine->device->block_rows;
    const struct turn_room most = {
        .step_rows = group->step_rows,
        .stage_tokens = block_rows < group->stage_rows ? block_rows : group->stage_rows,
    };
    turn_choose(turn, &engine->memory, engine->candidates, engine->live_count, &most);
    compose_drafts(engine);
}

/* Rank 0 tells the turn, if there is one. */
static enum status tell_turn(struct engine *engine, bool *there)
{
    struct transport *transport = engine->transport;
    *there = false;
    TRY(transport_progress(transport)); /* an abort is heard with nothing to do, too */
    if (engine->live_count == 0 && engine->queue.count == 0 && engine->queue.goer_count == 0)
        return STATUS_OK;
    TRY(turn_post_wait(engine->post));
    compose(engine);
    *there = engine->turn->goer_count > 0 || engine->turn->admit_count > 0 ||
             engine->turn->kind != TURN_NONE;
    return *there ? turn_post_tell(engine->post) : STATUS_OK;
}

/* While this rank has sequences, rank 0 has something to tell. */
static enum status hear_turn(struct engine *engine, bool *there)
{
    return turn_post_hear(engine->post, there, engine->live_count > 0, ENGINE_WAIT_MS);
}

static enum status take_turn(struct engine *engine)
{
    for (int g = 0; g < engine->turn->goer_count; g++)
        places_let_go(&engine->places, engine->turn->goers[g]);
    if (engine->turn->admit_count > 0)
        TRY(begin_all(engine));
    switch ((enum turn_kind)engine->turn->kind) {
    case TURN_STAGE:
        return engine->turn->row_count > 1 ? take_stages(engine) : take_stage(engine);
    case TURN_STEP:
        return take_step(engine);
    case TURN_NONE:
        break;
    }
    return STATUS_OK;
}

enum status engine_step(struct engine *engine, bool *busy)
{
    bool there = false;
    *busy = false;
    if (engine->broken)
        return fail(STATUS_FAILED_PRECONDITION, "this worker group has failed; start a new one");
    enum status status =
        engine->transport->rank == 0 ? tell_turn(engine, &there) : hear_turn(engine, &there);
    if (status == STATUS_OK && there)
        status = take_turn(engine);
    engine->device->trace = NULL; /* its request may have ended */
    if (status != STATUS_OK)
        return give_up(engine, status);
    *busy = there;
    return STATUS_OK;
}
