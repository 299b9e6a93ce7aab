/* Owns what a group's ranks have said about one of its runs. Promises that a run always ends: all
 * ranks report, or the group is declared lost; that its place is free once all ranks are done,
 * however long the client takes to read what they said; and that no run hears of another. */
#include "coordinator/group_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/worker_group.h"
#include "coordinator/workers.h"
#include "proto/clock.h"
#include "proto/log.h"

/* Ranks agree on where to stop within a second or a token, and between two stages of others; a
 * group that needs longer than this is lost. */
enum { STOP_GRACE_MS = 15000, STOP_BESIDE_MS = 120000, LOOK_MS = 100 };

/* Ids or scores told at a time: of a client that was slow they may have become many, and a message
 * stays below what clients accept (4 MiB). */
enum { NEWS_MAX = 1 << 12 };

struct group_run {
    struct worker_groups *all;
    int size;        /* ranks */
    uint64_t number; /* what ranks name it by */
    char request_id[WORKER_GROUP_NAME_BYTES];
    bool cancelled;
    pthread_cond_t news; /* something of this run */
    /* What follows is under the groups' lock. */
    struct group_run *next; /* in its group */
    struct group *group;    /* NULL once all ranks are done and the place is free for others */
    int64_t pool_bytes;     /* that the place holds */
    bool sending;           /* a command is going out: the group stays */
    int32_t *ids;           /* [ids_room] */
    struct group_logprobs *logprobs; /* [ids_room]; NULL unless asked for */
    size_t likeliest;
    size_t ids_count, ids_room, ids_told;
    float *scores;        /* [scores_room] */
    int64_t scores_first; /* the first that is told: of a run that goes on from another, not 0 */
    int64_t scores_count, scores_room, scores_told;
    int64_t tokens_done, tokens_total;
    struct group_report *reports; /* [size] */
    struct group_trace *traces;   /* [size]; NULL unless asked for */
    int64_t sent_ns;              /* when the command went out */
    int done_count;
    struct group_blocks blocks; /* of a run that saves or restores */
    struct group_outcome outcome;
    char message[CAUSE_BYTES];
};

/* ---- what ranks say (called by workers.c, under the lock) ---- */

static void take_ids(struct group_run *run, const Longhaul__Control__V1__RunTokens *tokens)
{
    const size_t wanted = run->logprobs ? tokens->n_ids : 0, each = run->likeliest;
    if (tokens->n_logprobs != wanted || tokens->n_likeliest_ids != wanted * each ||
        tokens->n_likeliest_logprobs != wanted * each) {
        worker_group_lose(run->group, "rank 0 tells %zu log-probabilities of %zu tokens",
                          tokens->n_logprobs, tokens->n_ids);
        return;
    }
    for (size_t i = 0; i < tokens->n_ids && run->ids_count < run->ids_room; i++) {
        if (run->logprobs) {
            struct group_logprobs *to = &run->logprobs[run->ids_count];
            to->chosen = tokens->logprobs[i];
            for (size_t n = 0; n < each; n++) {
                to->ids[n] = tokens->likeliest_ids[i * each + n];
                to->likeliest[n] = tokens->likeliest_logprobs[i * each + n];
            }
        }
        run->ids[run->ids_count++] = tokens->ids[i];
    }
}

static void take_scores(struct group_run *run, const Longhaul__Control__V1__RunScores *scores)
{
    if (run->scores_count == 0 && scores->first >= 0 && scores->first < run->scores_room)
        run->scores_first = scores->first;
    const int64_t next = run->scores_first + run->scores_count;
    if (scores->first != next || (int64_t)scores->n_logprobs > run->scores_room - next) {
        worker_group_lose(run->group,
                          "rank 0 reports %zu scores from %lld on where %lld are there of %lld",
                          scores->n_logprobs, (long long)scores->first, (long long)next,
                          (long long)run->scores_room);
        return;
    }
    for (size_t i = 0; i < scores->n_logprobs; i++)
        run->scores[run->scores_count++] = scores->logprobs[i];
}

static void take_done(struct group_run *run, int rank, const Longhaul__Control__V1__RunDone *done)
{
    struct group_report *report = &run->reports[rank];
    if (report->done)
        return;
    report->done = true;
    longhaul__control__v1__rank_report__init(&report->report);
    if (done->report) {
        report->report = *done->report;
        report->report.base.n_unknown_fields = 0;
        report->report.base.unknown_fields = NULL;
    }
    run->done_count++;
    if (rank == 0) {
        run->outcome.completion_tokens = done->completion_tokens;
        run->outcome.cached_tokens = done->cached_tokens;
        run->outcome.prefilled_tokens = done->prefilled_tokens;
        run->outcome.resident_slots = done->resident_slots;
        run->outcome.drafted_tokens = done->drafted_tokens;
        run->outcome.accepted_tokens = done->accepted_tokens;
        run->outcome.prefill_seconds = done->prefill_seconds;
        run->outcome.decode_seconds = done->decode_seconds;
        run->outcome.stopped = done->stopped;
    }
    if (done->status != STATUS_OK && run->outcome.status == STATUS_OK) {
        run->outcome.status = (enum status)done->status;
        run->outcome.not_finite = done->not_finite;
        snprintf(run->message, sizeof run->message, "%s", done->message);
    }
}

/* Under the lock. */
static bool is_done(const struct group_run *run)
{
    return run->done_count == run->size;
}

static struct group_run *find(const struct group *group, uint64_t number)
{
    struct group_run *run = group->runs;
    while (run && run->number != number)
        run = run->next;
    return run;
}

/* Takes the run out of its group, whose messages reach it no more. Under the lock. */
static void detach(struct group_run *run)
{
    struct group_run **link = &run->group->runs;
    while (*link != run)
        link = &(*link)->next;
    *link = run->next;
    run->group = NULL;
}

void group_run_wake_all(struct group *group)
{
    for (struct group_run *run = group->runs; run; run = run->next)
        pthread_cond_broadcast(&run->news);
}

static void take_step(const struct group *group, const Longhaul__Control__V1__StepTokens *step)
{
    for (size_t i = 0; i < step->n_runs; i++) {
        struct group_run *run = find(group, step->runs[i]->run);
        if (!run)
            continue;
        take_ids(run, step->runs[i]);
        pthread_cond_broadcast(&run->news);
    }
}

static void take_progress(struct group_run *run, const Longhaul__Control__V1__RunProgress *progress)
{
    run->tokens_done = progress->tokens_done;
    run->tokens_total = progress->tokens_total;
}

static void take_block(struct group_run *run, int rank,
                       const Longhaul__Control__V1__RunBlock *block)
{
    if (!group_blocks_add(&run->blocks, rank, block))
        worker_group_lose(run->group, "rank %d sends blocks of keys that nobody has room for",
                          rank);
}

/* What comes of a run that is over is nobody's. */
bool group_run_take(struct group *group, int rank,
                    const Longhaul__Control__V1__WorkerMessage *message)
{
    struct group_run *run = NULL;
    switch (message->kind_case) {
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TOKENS:
        take_step(group, message->tokens);
        return false;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_PROGRESS:
        if ((run = find(group, message->progress->run)))
            take_progress(run, message->progress);
        break;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_SCORES:
        if ((run = find(group, message->scores->run)))
            take_scores(run, message->scores);
        break;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_BLOCK:
        if ((run = find(group, message->block->run)))
            take_block(run, rank, message->block);
        break;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_BLOCKS_TAKEN:
        if ((run = find(group, message->blocks_taken->run)))
            group_blocks_taken(&run->blocks, rank, message->blocks_taken->blocks);
        break;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_DONE:
        if ((run = find(group, message->done->run)))
            take_done(run, rank, message->done);
        break;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TRACE:
        if ((run = find(group, message->trace->run)) && run->traces)
            group_trace_take(&run->traces[rank], message->trace, run->sent_ns);
        return false; /* nobody waits for it: RunDone follows */
    default:
        break;
    }
    if (run)
        pthread_cond_broadcast(&run->news);
    if (!run || !is_done(run) || run->sending || group->lost)
        return false;
    detach(run);
    worker_group_give_back(group, run->pool_bytes);
    return true;
}

/* ---- the run ---- */

static void run_free(struct group_run *run)
{
    pthread_cond_destroy(&run->news);
    free(run->ids);
    free(run->logprobs);
    free(run->scores);
    for (int rank = 0; run->traces && rank < run->size; rank++)
        group_trace_free(&run->traces[rank]);
    free(run->traces);
    free(run->reports);
    group_blocks_deinit(&run->blocks);
    free(run);
}

static enum status run_new(struct group_run **made, const struct workers_place *place,
                           const Longhaul__Control__V1__Run *command)
{
    struct group_run *run = calloc(1, sizeof *run);
    if (!run)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    pthread_cond_init(&run->news, NULL);
    run->group = place->group;
    run->pool_bytes = place->pool_bytes;
    run->all = run->group->all;
    run->size = run->group->size;
    snprintf(run->request_id, sizeof run->request_id, "%s", command->request_id);
    run->ids_room = (size_t)command->max_tokens;
    run->scores_room = command->kind == LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SCORE
                           ? (int64_t)command->n_token_ids - 1
                           : 0;
    run->ids = malloc((run->ids_room + 1) * sizeof *run->ids);
    if (command->logprobs)
        run->logprobs = malloc((run->ids_room + 1) * sizeof *run->logprobs);
    run->likeliest = (size_t)command->likeliest;
    run->scores = malloc(((size_t)run->scores_room + 1) * sizeof *run->scores);
    run->reports = calloc((size_t)run->size, sizeof *run->reports);
    if (command->trace)
        run->traces = calloc((size_t)run->size, sizeof *run->traces);
    if (!run->ids || (command->trace && !run->traces) || (command->logprobs && !run->logprobs) ||
        !run->scores || !run->reports) {
        run_free(run);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer of %lld tokens",
                    (long long)command->max_tokens);
    }
    if (command->kind == LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SAVE ||
        command->kind == LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_RESTORE) {
        const enum status status = group_blocks_init(&run->blocks, run->size);
        if (status != STATUS_OK) {
            run_free(run);
            return status;
        }
    }
    *made = run;
    return STATUS_OK;
}

static enum status send_to_all(struct group *group,
                               const Longhaul__Control__V1__CoordinatorMessage *message)
{
    enum status status = STATUS_OK;
    for (int rank = 0; rank < group->size; rank++) {
        enum status sent = worker_group_send(group, rank, message);
        if (status == STATUS_OK)
            status = sent;
    }
    return status;
}

/* The group that a command may be sent to, held until end_sending; NULL when it is free already. */
static struct group *begin_sending(struct group_run *run)
{
    pthread_mutex_lock(&run->all->lock);
    struct group *group = run->group;
    run->sending = group != NULL;
    pthread_mutex_unlock(&run->all->lock);
    return group;
}

static void end_sending(struct group_run *run)
{
    pthread_mutex_lock(&run->all->lock);
    struct group *group = run->group;
    run->sending = false;
    bool free_now = is_done(run) && !group->lost;
    if (free_now)
        detach(run);
    pthread_mutex_unlock(&run->all->lock);
    if (free_now)
        worker_group_release(group, run->pool_bytes);
}

/* Under the lock. */
static void attach(struct group_run *run, struct group *group)
{
    struct group_run **end = &group->runs;
    while (*end)
        end = &(*end)->next;
    *end = run;
    run->number = ++group->all->newest_run;
    run->sent_ns = clock_now_ns();
    run->sending = true;
}

enum status group_run_begin(struct group_run **run, const struct workers_place *place,
                            const Longhaul__Control__V1__Run *command)
{
    struct group_run *r = NULL;
    struct group *group = place->group;
    enum status status = run_new(&r, place, command);
    if (status != STATUS_OK) {
        workers_release(place);
        return status;
    }
    Longhaul__Control__V1__Run numbered = *command;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN;
    message.run = &numbered;
    pthread_mutex_lock(&group->begin_lock); /* ranks hear of runs by growing numbers */
    pthread_mutex_lock(&group->all->lock);
    attach(r, group);
    numbered.number = r->number;
    pthread_mutex_unlock(&group->all->lock);
    status = send_to_all(group, &message);
    pthread_mutex_unlock(&group->begin_lock);
    if (status != STATUS_OK) {
        /* Some ranks have the command and some do not: they can agree on nothing any more. */
        pthread_mutex_lock(&group->all->lock);
        worker_group_lose(group, "a command could not be sent: %s", status_message());
        pthread_mutex_unlock(&group->all->lock);
    }
    end_sending(r);
    *run = r;
    return STATUS_OK;
}

uint64_t group_run_number(const struct group_run *run)
{
    return run->number;
}

const char *group_run_id(const struct group_run *run)
{
    return run->request_id;
}

static bool has_ended(const struct group_run *run)
{
    return is_done(run) || run->group->lost;
}

static bool has_news(const struct group_run *run, const struct group_news *news)
{
    return has_ended(run) || run->ids_count > run->ids_told ||
           run->scores_count > run->scores_told || run->tokens_done != news->tokens_done;
}

static int64_t at_most(int64_t value, int64_t most)
{
    return value < most ? value : most;
}

void group_run_wait(struct group_run *run, struct group_news *news, int64_t timeout_ms)
{
    struct worker_groups *all = run->all;
    int64_t deadline_ns = clock_after_ms(timeout_ms);
    pthread_mutex_lock(&all->lock);
    while (!has_news(run, news) && clock_wait(&run->news, &all->lock, deadline_ns))
        ;
    *news = (struct group_news){
        .ids = run->ids + run->ids_told,
        .id_count = (size_t)at_most((int64_t)(run->ids_count - run->ids_told), NEWS_MAX),
        .logprobs = run->logprobs ? run->logprobs + run->ids_told : NULL,
        .scores = run->scores + run->scores_told,
        .score_first = run->scores_first + run->scores_told,
        .score_count = at_most(run->scores_count - run->scores_told, NEWS_MAX),
        .tokens_done = run->tokens_done,
        .tokens_total = run->tokens_total,
    };
    run->ids_told += news->id_count;
    run->scores_told += news->score_count;
    news->ended =
        has_ended(run) && run->ids_told == run->ids_count && run->scores_told == run->scores_count;
    pthread_mutex_unlock(&all->lock);
}

void group_run_outcome(struct group_run *run, struct group_outcome *outcome)
{
    pthread_mutex_lock(&run->all->lock);
    if (!is_done(run) && run->group->lost && run->all->stopping) {
        run->outcome.status = STATUS_CANCELLED;
        snprintf(run->message, sizeof run->message, "the coordinator is ending");
    } else if (!is_done(run) && run->group->lost) {
        run->outcome.status = STATUS_UNAVAILABLE;
        snprintf(run->message, sizeof run->message, "the worker group was lost: %.*s",
                 CAUSE_BYTES - 40, run->group->cause);
    }
    *outcome = run->outcome;
    outcome->message = run->message;
    outcome->reports = run->reports;
    outcome->traces = run->traces;
    outcome->report_count = run->size;
    pthread_mutex_unlock(&run->all->lock);
}

void group_run_cancel(struct group_run *run, const char *reason)
{
    if (run->cancelled)
        return;
    run->cancelled = true;
    struct group *group = begin_sending(run);
    if (!group)
        return;
    Longhaul__Control__V1__Cancel cancel = LONGHAUL__CONTROL__V1__CANCEL__INIT;
    cancel.run = run->number;
    cancel.reason = (char *)reason;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_CANCEL;
    message.cancel = &cancel;
    /* A rank that cannot be told is about to be found lost. */
    if (send_to_all(group, &message) != STATUS_OK)
        log_line(LOG_DEBUG, "cancel not delivered", log_text("cause", status_message()));
    end_sending(run);
}

/* ---- blocks of keys ---- */

/* A rank that cannot be told is about to be found lost. */
static void tell_taken(struct group_run *run, int rank, int64_t blocks)
{
    struct group *group = begin_sending(run);
    if (!group)
        return;
    Longhaul__Control__V1__RunBlocksTaken taken = LONGHAUL__CONTROL__V1__RUN_BLOCKS_TAKEN__INIT;
    taken.run = run->number;
    taken.blocks = blocks;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_BLOCKS_TAKEN;
    message.blocks_taken = &taken;
    if (worker_group_send(group, rank, &message) != STATUS_OK)
        log_line(LOG_DEBUG, "taken blocks not told", log_text("cause", status_message()));
    end_sending(run);
}

struct group_block *group_run_next_block(struct group_run *run, int64_t timeout_ms)
{
    const int64_t deadline_ns = clock_after_ms(timeout_ms);
    int64_t taken;
    pthread_mutex_lock(&run->all->lock);
    while (!run->blocks.first && !has_ended(run) &&
           clock_wait(&run->news, &run->all->lock, deadline_ns))
        ;
    struct group_block *block = group_blocks_pop(&run->blocks, &taken);
    pthread_mutex_unlock(&run->all->lock);
    if (taken > 0)
        tell_taken(run, block->rank, taken);
    return block;
}

enum status group_run_send_block(struct group_run *run, bool *sent, int rank,
                                 const struct cache_stored *stored, int64_t timeout_ms)
{
    const int64_t deadline_ns = clock_after_ms(timeout_ms);
    bool reserved = false;
    *sent = false;
    pthread_mutex_lock(&run->all->lock);
    while (!has_ended(run) && !(reserved = group_blocks_reserve(&run->blocks, rank)) &&
           clock_wait(&run->news, &run->all->lock, deadline_ns))
        ;
    pthread_mutex_unlock(&run->all->lock);
    struct group *group = reserved ? begin_sending(run) : NULL;
    if (!group)
        return STATUS_OK;
    Longhaul__Control__V1__RunBlock block = LONGHAUL__CONTROL__V1__RUN_BLOCK__INIT;
    block.run = run->number;
    block.number = stored->number;
    block.digest = stored->digest;
    block.stored.len = stored->count;
    block.stored.data = (uint8_t *)(size_t)stored->bytes; /* only read */
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_BLOCK;
    message.block = &block;
    const enum status status = worker_group_send(group, rank, &message);
    end_sending(run);
    *sent = status == STATUS_OK;
    return status;
}

bool group_run_is_over(struct group_run *run)
{
    pthread_mutex_lock(&run->all->lock);
    const bool over = has_ended(run);
    pthread_mutex_unlock(&run->all->lock);
    return over;
}

bool group_run_is_done(struct group_run *run)
{
    pthread_mutex_lock(&run->all->lock);
    bool done = is_done(run);
    pthread_mutex_unlock(&run->all->lock);
    return done;
}

static bool is_alone(const struct group_run *run)
{
    return run->group->runs == run && !run->next;
}

/* STOP_GRACE_MS, counted while the group has nothing else to do. Under the lock. */
static void wait_for_stop(struct group_run *run)
{
    struct clock_watch own, all;
    clock_watch_start(&own);
    clock_watch_start(&all);
    while (!has_ended(run) && clock_watch_look(&own, 2 * LOOK_MS) < STOP_GRACE_MS &&
           clock_watch_look(&all, 2 * LOOK_MS) < STOP_BESIDE_MS) {
        if (!is_alone(run))
            clock_watch_start(&own);
        (void)clock_wait(&run->news, &run->all->lock, clock_after_ms(LOOK_MS));
    }
}

void group_run_end(struct group_run *run)
{
    if (!run)
        return;
    struct worker_groups *all = run->all;
    pthread_mutex_lock(&all->lock);
    bool ended = has_ended(run);
    pthread_mutex_unlock(&all->lock);
    if (!ended)
        group_run_cancel(run, "the request has ended");
    pthread_mutex_lock(&all->lock);
    wait_for_stop(run);
    if (!has_ended(run))
        worker_group_lose(run->group, "%d of %d ranks did not stop within %d s",
                          run->size - run->done_count, run->size, STOP_GRACE_MS / 1000);
    struct group *group = run->group;
    if (group)
        detach(run);
    pthread_mutex_unlock(&all->lock);
    if (group)
        worker_group_release(group, run->pool_bytes);
    run_free(run);
}
