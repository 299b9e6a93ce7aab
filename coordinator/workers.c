/* Owns who joins the groups and who leaves them, and what each rank's stream says. Promises that a
 * lost rank ends its group within the silence that the settings allow, and that no rank of another
 * version, model or group size is ever part of a group. */
#include "coordinator/workers.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/group_run.h"
#include "coordinator/worker_group.h"
#include "proto/clock.h"
#include "proto/log.h"

enum {
    HELLO_MS = 10000,
    LOOK_MS = 100,
    SEND_GRACE_MS = 1000,
    LOCK_LOOK_MS = 5,
    SIZE_MAX_RANKS = 4096
};

/* A busy rank finishes a work item in well under a second. */
#define OVERDUE_SECONDS 10.0
/* Prompts of several workers are cut for another pace where it is so many times more, or less. */
#define STEADY_PACE 4.0

struct workers {
    struct workers_settings settings;
    struct worker_groups groups;
    char stop_reason[CAUSE_BYTES]; /* under groups.lock */
};

static_assert((int)WORKERS_NAME_BYTES == (int)WORKER_GROUP_NAME_BYTES,
              "what is told of a name is the whole name");

enum status workers_create(struct workers **workers, const struct workers_settings *settings)
{
    struct workers *w = calloc(1, sizeof *w);
    if (!w)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the worker groups");
    w->settings = *settings;
    worker_groups_init(&w->groups, settings->changed, settings->context);
    *workers = w;
    return STATUS_OK;
}

void workers_destroy(struct workers *workers)
{
    if (!workers)
        return;
    worker_groups_deinit(&workers->groups);
    free(workers);
}

struct worker_groups *workers_groups(struct workers *workers)
{
    return &workers->groups;
}

/* ---- joining ---- */

static bool has_kernels(const Longhaul__Control__V1__Hello *hello, const char *name)
{
    for (size_t i = 0; i < hello->n_kernels; i++)
        if (strcmp(hello->kernels[i], name) == 0)
            return true;
    return false;
}

static enum status check_hello(const struct workers *workers,
                               const Longhaul__Control__V1__Hello *hello)
{
    const struct workers_settings *settings = &workers->settings;
    if (strcmp(hello->version, LONGHAUL_VERSION) != 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "worker rank %d on %s has version %s, the coordinator has %s: install the same "
                    "version on all hosts",
                    hello->rank, hello->host, hello->version, LONGHAUL_VERSION);
    if (strcmp(hello->model_digest, settings->model_digest) != 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "worker rank %d on %s has a model file with digest %s, the coordinator's has "
                    "%s: give both the same file",
                    hello->rank, hello->host, hello->model_digest, settings->model_digest);
    if (hello->size < 1 || hello->size > SIZE_MAX_RANKS || hello->rank < 0 ||
        hello->rank >= hello->size)
        return fail(STATUS_INVALID_ARGUMENT, "a worker on %s says it is rank %d of %d", hello->host,
                    hello->rank, hello->size);
    if (hello->group_id[0] == 0 || strlen(hello->group_id) >= WORKERS_NAME_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "worker rank %d on %s has no usable group id",
                    hello->rank, hello->host);
    if (settings->kernels && !has_kernels(hello, settings->kernels))
        return fail(STATUS_FAILED_PRECONDITION, "worker rank %d on %s has no kernels \"%s\"",
                    hello->rank, hello->host, settings->kernels);
    return STATUS_OK;
}

static enum status check_place(const struct group *group, const Longhaul__Control__V1__Hello *hello)
{
    if (group->lost)
        return fail(STATUS_CANCELLED, "group %s is ending: %s", group->id, group->cause);
    if (group->size != hello->size || strcmp(group->transport, hello->transport) != 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "group %s has %d ranks over %s; a worker on %s says %d over %s", group->id,
                    group->size, group->transport, hello->host, hello->size, hello->transport);
    if (group->ranks[hello->rank].joined)
        return fail(STATUS_FAILED_PRECONDITION, "group %s has a rank %d already, on %s", group->id,
                    hello->rank, group->ranks[hello->rank].host);
    return STATUS_OK;
}

static void note_heard(struct rank *rank)
{
    rank->heard_ns = clock_now_ns();
    clock_watch_start(&rank->silence);
}

static void fill_rank(struct rank *rank, const Longhaul__Control__V1__Hello *hello)
{
    rank->joined = true;
    note_heard(rank);
    snprintf(rank->host, sizeof rank->host, "%s", hello->host);
    rank->pid = hello->pid;
    rank->threads = hello->threads;
    rank_placement_read(&rank->placement, hello);
    rank->memory_bytes = hello->memory_bytes;
    for (size_t i = 0; i < hello->n_kernels && i < KERNELS_MAX; i++) {
        snprintf(rank->kernels[i], sizeof rank->kernels[i], "%s", hello->kernels[i]);
        rank->kernels_count++;
    }
}

/* Makes the caller's call the one of the rank that `hello` names. */
static enum status enter(struct workers *workers, struct rpc_call *call,
                         const Longhaul__Control__V1__Hello *hello, struct group **entered)
{
    TRY(check_hello(workers, hello));
    pthread_mutex_lock(&workers->groups.lock);
    enum status status = STATUS_OK;
    struct group *group = worker_group_find(&workers->groups, hello->group_id);
    if (workers->groups.stopping)
        status = fail(STATUS_UNAVAILABLE, "the coordinator is ending: %s", workers->stop_reason);
    else if (group)
        status = check_place(group, hello);
    else if (!(group = worker_group_add(&workers->groups, hello)))
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a worker group");
    if (status == STATUS_OK) {
        fill_rank(&group->ranks[hello->rank], hello);
        group->ranks[hello->rank].call = call;
        group->joined_count++;
        *entered = group;
        log_line(LOG_INFO, "worker joined", log_text("group", group->id),
                 log_integer("rank", hello->rank), log_integer("size", group->size),
                 log_text("host", hello->host), log_integer("pid", hello->pid),
                 log_integer("threads", hello->threads), log_text("cpus", hello->cpus),
                 log_text("cores", hello->cores_shared ? "shared" : "own"),
                 log_integer("held_by_other_groups", hello->foreign_cores),
                 log_text("memory_nodes", hello->memory_nodes), log_text("address", hello->address),
                 log_text("interface", hello->interface), log_text("gpu", hello->gpu));
    }
    pthread_mutex_unlock(&workers->groups.lock);
    return status;
}

/* Whether the lock could be had within SEND_GRACE_MS. */
static bool lock_in_time(pthread_mutex_t *lock)
{
    for (int waited_ms = 0; waited_ms < SEND_GRACE_MS; waited_ms += LOCK_LOOK_MS) {
        if (pthread_mutex_trylock(lock) == 0)
            return true;
        const struct timespec pause = {.tv_nsec = LOCK_LOOK_MS * 1000000};
        nanosleep(&pause, NULL);
    }
    return false;
}

/* Ends the rank's part in the group: from here on nobody uses its call. */
static void leave(struct group *group, int rank_number)
{
    struct worker_groups *all = group->all;
    struct rank *rank = &group->ranks[rank_number];
    /* A sender may be stuck in a write to this rank: cancelling the call frees it. */
    if (!lock_in_time(&rank->send_lock)) {
        rpc_call_cancel(rank->call);
        pthread_mutex_lock(&rank->send_lock);
    }
    rank->call = NULL;
    pthread_mutex_unlock(&rank->send_lock);

    pthread_mutex_lock(&all->lock);
    /* A rank whose coordinator ends says no more: what runs there ends here. */
    worker_group_lose(group, "rank %d on %s has left", rank_number, rank->host);
    rank->joined = false;
    group->joined_count--;
    pthread_cond_broadcast(&all->left);
    worker_group_drop_if_empty(group);
    pthread_mutex_unlock(&all->lock);
    worker_groups_announce(all);
}

/* ---- a rank's stream ---- */

static void take_loaded(struct group *group, int rank_number,
                        const Longhaul__Control__V1__Loaded *loaded)
{
    struct rank *rank = &group->ranks[rank_number];
    if (rank->loaded)
        return;
    rank->loaded = true;
    rank->load = *loaded;
    rank->load.base.n_unknown_fields = 0;
    rank->load.base.unknown_fields = NULL;
    rank->load.links = NULL;
    rank->load.n_links = 0;
    if (rank_number == 0)
        group_links_take(&group->links, loaded, group->size);
    group->loaded_count++;
    if (worker_group_is_ready(group))
        log_line(LOG_INFO, "group ready", log_text("group", group->id),
                 log_integer("size", group->size), log_text("transport", group->transport),
                 log_real("seconds", loaded->seconds, 2));
}

/* Under the lock. True when the change concerns more than the group's own runs. */
static bool take(struct group *group, int rank_number,
                 const Longhaul__Control__V1__WorkerMessage *message)
{
    struct rank *rank = &group->ranks[rank_number];
    bool was_overdue = rank->runs > 0 && rank->work_age_seconds > OVERDUE_SECONDS;
    note_heard(rank);
    switch (message->kind_case) {
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HEARTBEAT:
        rank->work_age_seconds = message->heartbeat->work_age_seconds;
        rank->runs = message->heartbeat->runs;
        return was_overdue != (rank->runs > 0 && rank->work_age_seconds > OVERDUE_SECONDS);
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_LOADED:
        take_loaded(group, rank_number, message->loaded);
        return true;
    case LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_FAILED:
        worker_group_lose(group, "rank %d on %s: %s", rank_number, rank->host,
                          message->failed->message);
        return true;
    default:
        return group_run_take(group, rank_number, message);
    }
}

/* Since the rank finished a piece of the work that it has, pauses of our own left out; 0 where it
 * has none. Under the lock. */
static double idle_seconds(const struct rank *rank)
{
    return rank->runs > 0 ? rank->work_age_seconds + 1e-9 * (double)rank->silence.watched_ns : 0;
}

/* A rank that stands still soon stops the others: the one that stood still first is named. Its
 * process beats, so that silence does not tell. Under the lock. */
static void lose_where_work_stands(const struct workers *workers, struct group *group)
{
    int first = 0;
    for (int r = 1; r < group->size; r++)
        if (idle_seconds(&group->ranks[r]) > idle_seconds(&group->ranks[first]))
            first = r;
    const struct rank *rank = &group->ranks[first];
    if (!group->lost && idle_seconds(rank) * 1000 > workers->settings.work_ms)
        worker_group_lose(group,
                          "rank %d on %s (process %" PRId64 ") has finished no work for %.1f s",
                          first, rank->host, rank->pid, idle_seconds(rank));
}

/* Whether the rank's thread should go on listening; otherwise `sentence` says why not. Under the
 * lock. */
static bool goes_on(const struct workers *workers, struct group *group, int rank_number,
                    char sentence[CAUSE_BYTES])
{
    struct rank *rank = &group->ranks[rank_number];
    /* After a pause of our own, what the rank sent meanwhile is read first. */
    int64_t silent_ms = clock_watch_look(&rank->silence, 2 * LOOK_MS);
    if (!group->lost && silent_ms > workers->settings.dead_ms)
        worker_group_lose(group, "rank %d on %s (process %" PRId64 ") was silent for %.1f s",
                          rank_number, rank->host, rank->pid, (double)silent_ms / 1000);
    lose_where_work_stands(workers, group);
    if (workers->groups.stopping)
        snprintf(sentence, CAUSE_BYTES, "%s", workers->stop_reason);
    else if (group->lost)
        snprintf(sentence, CAUSE_BYTES, "%s", group->cause);
    else
        return true;
    return false;
}

static enum status end_of_stream(struct group *group, int rank_number, enum status status)
{
    char sentence[CAUSE_BYTES];
    snprintf(sentence, sizeof sentence, "%s",
             status == STATUS_OK ? "it closed its stream" : status_message());
    if (rpc_call_cancelled(group->ranks[rank_number].call))
        snprintf(sentence, sizeof sentence, "its connection broke");
    pthread_mutex_lock(&group->all->lock);
    worker_group_lose(group, "rank %d on %s (process %" PRId64 "): %s", rank_number,
                      group->ranks[rank_number].host, group->ranks[rank_number].pid, sentence);
    pthread_mutex_unlock(&group->all->lock);
    return fail(STATUS_UNAVAILABLE, "%s", sentence);
}

static enum status tell_to_stop(struct group *group, int rank_number, const char *reason)
{
    Longhaul__Control__V1__Stop stop = LONGHAUL__CONTROL__V1__STOP__INIT;
    stop.reason = (char *)reason;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_STOP;
    message.stop = &stop;
    /* It may be gone already: then there is nobody to tell. */
    if (worker_group_send(group, rank_number, &message) != STATUS_OK)
        log_line(LOG_DEBUG, "stop not delivered", log_text("group", group->id),
                 log_integer("to", rank_number));
    return fail(STATUS_UNAVAILABLE, "%s", reason);
}

/* Without waiting: a rank that takes nothing will be found silent. A call that is over tells at the
 * next read. */
static void answer_heartbeat(struct rpc_call *call)
{
    Longhaul__Control__V1__HeartbeatAnswer answer = LONGHAUL__CONTROL__V1__HEARTBEAT_ANSWER__INIT;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_HEARTBEAT_ANSWER;
    message.heartbeat_answer = &answer;
    if (rpc_call_post(call, &message.base) != STATUS_OK)
        log_line(LOG_DEBUG, "heartbeat not answered", log_text("peer", rpc_call_peer(call)));
}

static bool is_heartbeat(const ProtobufCMessage *message)
{
    const Longhaul__Control__V1__WorkerMessage *said = (const void *)message;
    return said && said->kind_case == LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HEARTBEAT;
}

static enum status listen_to(struct workers *workers, struct group *group, int rank_number,
                             struct rpc_call *call)
{
    char sentence[CAUSE_BYTES];
    for (;;) {
        const ProtobufCMessage *message = NULL;
        enum status status = rpc_call_read(call, &message, LOOK_MS);
        if (status != STATUS_DEADLINE_EXCEEDED && (status != STATUS_OK || !message))
            return end_of_stream(group, rank_number, status);
        if (is_heartbeat(message))
            answer_heartbeat(call);
        pthread_mutex_lock(&workers->groups.lock);
        bool news = message && take(group, rank_number, (const void *)message);
        bool going = goes_on(workers, group, rank_number, sentence);
        pthread_mutex_unlock(&workers->groups.lock);
        if (news || !going)
            worker_groups_announce(&workers->groups);
        if (!going)
            return tell_to_stop(group, rank_number, sentence);
    }
}

static enum status welcome(const struct workers *workers, struct group *group, int rank_number)
{
    Longhaul__Control__V1__Welcome body = LONGHAUL__CONTROL__V1__WELCOME__INIT;
    body.heartbeat_ms = workers->settings.heartbeat_ms;
    body.runs_wanted = workers->settings.requests_wanted;
    body.context_tokens = workers->settings.context_tokens;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_WELCOME;
    message.welcome = &body;
    return worker_group_send(group, rank_number, &message);
}

static void note_refusal(struct workers *workers, struct rpc_call *call)
{
    log_line(LOG_ERROR, "worker refused", log_text("peer", rpc_call_peer(call)),
             log_text("cause", status_message()));
    pthread_mutex_lock(&workers->groups.lock);
    snprintf(workers->groups.trouble, sizeof workers->groups.trouble, "%s", status_message());
    workers->groups.trouble_ns = clock_now_ns();
    pthread_mutex_unlock(&workers->groups.lock);
}

/* Before anything that a stranger sends is read, and without a word about the cluster. */
static enum status check_secret(const struct workers *workers, struct rpc_call *call)
{
    size_t bytes = 0;
    const char *said = rpc_call_authorization(call, &bytes);
    if (said && join_secret_matches(workers->settings.join_secret, said, bytes))
        return STATUS_OK;
    log_line(LOG_WARN, "stranger refused", log_text("peer", rpc_call_peer(call)),
             log_text("cause", said ? "a wrong join secret" : "no join secret"));
    return fail(STATUS_UNAUTHENTICATED,
                "workers join with the coordinator's secret, and this one "
                "%s: give it the same --join-secret FILE",
                said ? "is another" : "is missing");
}

static enum status read_hello(struct rpc_call *call, const ProtobufCMessage **message)
{
    struct clock_watch watch;
    enum status status;
    clock_watch_start(&watch);
    do
        status = rpc_call_read(call, message, LOOK_MS);
    while (status == STATUS_DEADLINE_EXCEEDED && clock_watch_look(&watch, 2 * LOOK_MS) < HELLO_MS);
    return status;
}

static enum status join(struct rpc_call *call, const ProtobufCMessage *none, void *context)
{
    (void)none;
    struct workers *workers = context;
    const ProtobufCMessage *message = NULL;
    TRY(check_secret(workers, call));
    TRY(read_hello(call, &message));
    const Longhaul__Control__V1__WorkerMessage *first = (const void *)message;
    if (!first || first->kind_case != LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HELLO)
        return fail(STATUS_INVALID_ARGUMENT, "a worker's first message must be Hello");
    struct group *group = NULL;
    int rank_number = first->hello->rank;
    enum status status = enter(workers, call, first->hello, &group);
    if (status != STATUS_OK) {
        note_refusal(workers, call);
        return status;
    }
    worker_groups_announce(&workers->groups);
    status = welcome(workers, group, rank_number);
    status = status == STATUS_OK ? listen_to(workers, group, rank_number, call)
                                 : end_of_stream(group, rank_number, status);
    leave(group, rank_number);
    return status;
}

void workers_method(struct workers *workers, struct rpc_method *method)
{
    *method = (struct rpc_method){
        .service = "longhaul.control.v1.WorkerControl",
        .name = "Join",
        .request = &longhaul__control__v1__worker_message__descriptor,
        .client_streams = true,
        .request_bytes_max = RPC_MESSAGE_BYTES_MAX,
        .handle = join,
        .context = workers,
    };
}

/* ---- asking ---- */

bool workers_any(struct workers *workers)
{
    bool any = false;
    pthread_mutex_lock(&workers->groups.lock);
    for (struct group *group = workers->groups.first; group; group = group->next)
        any = any || !group->lost;
    pthread_mutex_unlock(&workers->groups.lock);
    return any;
}

int workers_places(struct workers *workers)
{
    int places = 0;
    pthread_mutex_lock(&workers->groups.lock);
    for (const struct group *group = workers->groups.first; group; group = group->next)
        places += worker_group_is_ready(group) ? worker_group_places(group) : 0;
    pthread_mutex_unlock(&workers->groups.lock);
    return places;
}

bool workers_ready(struct workers *workers)
{
    bool ready = false;
    pthread_mutex_lock(&workers->groups.lock);
    for (struct group *group = workers->groups.first; group; group = group->next)
        ready = ready || worker_group_is_ready(group);
    pthread_mutex_unlock(&workers->groups.lock);
    return ready;
}

void workers_trouble(struct workers *workers, int64_t since_ns, char *text, size_t bytes)
{
    pthread_mutex_lock(&workers->groups.lock);
    bool is_new = workers->groups.trouble_ns >= since_ns;
    snprintf(text, bytes, "%s", is_new ? workers->groups.trouble : "");
    pthread_mutex_unlock(&workers->groups.lock);
}

static bool is_overdue(const struct group *group)
{
    for (int i = 0; i < group->size; i++)
        if (group->ranks[i].runs > 0 && group->ranks[i].work_age_seconds > OVERDUE_SECONDS)
            return true;
    return false;
}

bool workers_serving(struct workers *workers)
{
    bool serving = false;
    pthread_mutex_lock(&workers->groups.lock);
    for (struct group *group = workers->groups.first; group; group = group->next)
        serving = serving || (worker_group_is_ready(group) && !is_overdue(group));
    pthread_mutex_unlock(&workers->groups.lock);
    return serving;
}

static bool rank_has(const struct rank *rank, const char *kernels)
{
    for (int i = 0; i < rank->kernels_count; i++)
        if (strcmp(rank->kernels[i], kernels) == 0)
            return true;
    return false;
}

/* The first of rank 0's variants that all ranks have, or the one that was asked for; "" when there
 * is none. */
static const char *common_kernels(const struct workers *workers, const struct group *group)
{
    if (workers->settings.kernels)
        return workers->settings.kernels;
    for (int k = 0; k < group->ranks[0].kernels_count; k++) {
        int having = 0;
        for (int i = 0; i < group->size; i++)
            having += rank_has(&group->ranks[i], group->ranks[0].kernels[k]);
        if (having == group->size)
            return group->ranks[0].kernels[k];
    }
    return "";
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What is not said is bf16. */
static enum choice_cache cache_of(Longhaul__Control__V1__CacheType told)
{
    const int cache = (int)told - 1;
    return cache >= CHOICE_CACHE_BF16 && cache <= CHOICE_CACHE_INT8 ? (enum choice_cache)cache
                                                                    : CHOICE_CACHE_BF16;
}

static void describe(const struct workers *workers, const struct group *group,
                     struct workers_facts *facts)
{
    *facts = (struct workers_facts){
        .serial = group->serial,
        .size = group->size,
        .threads = group->ranks[0].threads,
        .memory_bytes = worker_group_memory(&group->ranks[0]),
        .weight_sharers = worker_group_sharers(&group->ranks[0]),
        .cache = cache_of(group->ranks[0].load.cache),
        .shared_memory_bus = group->shared_memory_bus,
        .context_tokens = group->context_tokens,
        .longest_tokens = group->ranks[0].load.context_tokens,
        .stage_rows = group->ranks[0].load.stage_rows,
        .step_rows = group->ranks[0].load.step_rows,
        .pool_slots = group->ranks[0].load.pool_slots,
        .pool_bytes = worker_group_pool_bytes(group),
        .tensor = worker_group_tensor(group),
        .whole_bytes = group->ranks[0].load.whole_bytes,
        .session_bytes = group->session_bytes,
        .within = group->links.within,
        .between = group->links.between,
        .host_ranks = group->links.host_ranks,
        .places = worker_group_places(group),
        .pace = group->size > 1 ? group->steady_pace : group->pace,
    };
    if (facts->tensor == 1) /* whole workers are weighed, not slices of them */
        facts->weights = group->weights;
    snprintf(facts->group_id, sizeof facts->group_id, "%s", group->id);
    snprintf(facts->kernels, sizeof facts->kernels, "%s", common_kernels(workers, group));
    for (int i = 0; i < group->size; i++) {
        const struct rank *rank = &group->ranks[i];
        if (rank->threads < facts->threads)
            facts->threads = rank->threads;
        const int sharers = worker_group_sharers(rank);
        const int64_t memory_bytes = worker_group_memory(rank);
        if (memory_bytes < facts->memory_bytes)
            facts->memory_bytes = memory_bytes;
        if (sharers < facts->weight_sharers)
            facts->weight_sharers = sharers;
        facts->weights_bytes = larger(facts->weights_bytes, rank->load.weights_bytes);
        facts->base_bytes = larger(facts->base_bytes, rank->load.base_bytes);
        facts->scratch_bytes = larger(facts->scratch_bytes, rank->load.scratch_bytes);
        facts->logit_rows = larger(facts->logit_rows, rank->load.logit_rows);
        facts->list_row_bytes = larger(facts->list_row_bytes, rank->load.list_row_bytes);
        facts->list_panel_bytes = larger(facts->list_panel_bytes, rank->load.list_panel_bytes);
        const int place = i % facts->tensor;
        facts->slices[place].weights_bytes =
            larger(facts->slices[place].weights_bytes, rank->load.weights_bytes);
        facts->slices[place].scratch_bytes =
            larger(facts->slices[place].scratch_bytes, rank->load.scratch_bytes);
        if (rank->load.seconds > facts->load_seconds)
            facts->load_seconds = rank->load.seconds;
    }
}

enum status workers_facts(struct workers *workers, struct workers_facts *facts)
{
    bool found = false;
    pthread_mutex_lock(&workers->groups.lock);
    for (struct group *group = workers->groups.first; group && !found; group = group->next) {
        found = worker_group_is_ready(group);
        if (found)
            describe(workers, group, facts);
    }
    pthread_mutex_unlock(&workers->groups.lock);
    return found ? STATUS_OK : fail(STATUS_UNAVAILABLE, "no worker group is ready");
}

/* Panels of a prompt that the group holds; 0 where that is less than half of what it could reuse: a
 * greeting that many prompts begin with draws them to no group. */
static int64_t draw_of(const struct group *group, const struct panel_chain *prompt)
{
    const int64_t shared = held_prompts_shared(&group->held, prompt);
    return 2 * shared < panel_chain_reusable(prompt) ? 0 : shared;
}

int64_t workers_shared(struct workers *workers, const struct panel_chain *prompt)
{
    int64_t most = 0;
    pthread_mutex_lock(&workers->groups.lock);
    for (const struct group *group = workers->groups.first; group; group = group->next)
        if (worker_group_is_ready(group))
            most = larger(most, held_prompts_shared(&group->held, prompt));
    pthread_mutex_unlock(&workers->groups.lock);
    return most;
}

/* Of two groups that have a place. */
static bool suits_better(const struct group *group, const struct group *other,
                         const struct workers_asked *asked)
{
    const bool roomy = worker_group_has_room(group, asked->pool_bytes);
    const int64_t draw = draw_of(group, asked->prompt);
    const int64_t other_draw = draw_of(other, asked->prompt);
    if (roomy != worker_group_has_room(other, asked->pool_bytes))
        return roomy;
    return draw != other_draw ? draw > other_draw : group->holders < other->holders;
}

bool workers_offer(struct workers *workers, struct workers_facts *facts,
                   const struct workers_asked *asked)
{
    const struct group *offered = NULL;
    pthread_mutex_lock(&workers->groups.lock);
    for (struct group *group = workers->groups.first; group; group = group->next)
        if (worker_group_is_ready(group) && worker_group_has_room(group, 0) &&
            (asked->serial == 0 || asked->serial == group->serial) &&
            (!offered || suits_better(group, offered, asked)))
            offered = group;
    if (offered)
        describe(workers, offered, facts);
    pthread_mutex_unlock(&workers->groups.lock);
    return offered;
}

/* Under the lock; NULL when it is gone. */
static struct group *find_serial(const struct worker_groups *all, uint64_t serial)
{
    struct group *group = all->first;
    while (group && group->serial != serial)
        group = group->next;
    return group;
}

/* Several workers share the beginnings of prompts that are cut alike, so what cuts them moves only
 * where it is far off. */
static double steady(double before, double measured)
{
    const double held = before > 0 ? before : 1;
    return measured > STEADY_PACE * held || held > STEADY_PACE * measured ? measured : before;
}

void workers_note_pace(struct workers *workers, const struct workers_facts *facts, double pace)
{
    pthread_mutex_lock(&workers->groups.lock);
    struct group *group = find_serial(&workers->groups, facts->serial);
    if (group)
        group->pace = group->pace > 0 ? 0.5 * (group->pace + pace) : pace;
    if (group)
        group->steady_pace = steady(group->steady_pace, group->pace);
    pthread_mutex_unlock(&workers->groups.lock);
}

static void log_weights(const struct group *group)
{
    for (int r = 0; r < group->size; r++)
        log_line(LOG_INFO, "worker weighed", log_text("group", group->id), log_integer("rank", r),
                 log_text("host", group->ranks[r].host),
                 log_real("share", partition_weights_share(&group->weights, r), 3));
}

void workers_note_speeds(struct workers *workers, const struct workers_facts *facts,
                         const struct worker_speeds_run *run)
{
    pthread_mutex_lock(&workers->groups.lock);
    struct group *group = find_serial(&workers->groups, facts->serial);
    if (group && group->size == run->count && worker_group_tensor(group) == 1) {
        const struct partition_weights before = group->weights;
        worker_speeds_note(group->speeds, run);
        worker_speeds_weigh(&group->weights, group->speeds, group->size);
        if (memcmp(&before, &group->weights, sizeof before) != 0)
            log_weights(group);
    }
    pthread_mutex_unlock(&workers->groups.lock);
}

bool workers_acquire(struct workers *workers, struct workers_place *place,
                     const struct workers_facts *facts, int64_t pool_bytes,
                     const struct panel_chain *prompt)
{
    pthread_mutex_lock(&workers->groups.lock);
    struct group *group = find_serial(&workers->groups, facts->serial);
    const bool taken =
        group && worker_group_is_ready(group) && worker_group_has_room(group, pool_bytes);
    if (taken) {
        group->holders++;
        group->taken_bytes += pool_bytes;
        held_prompts_add(&group->held, prompt);
        *place = (struct workers_place){group, pool_bytes};
    }
    pthread_mutex_unlock(&workers->groups.lock);
    return taken;
}

bool workers_has(struct workers *workers, uint64_t serial)
{
    pthread_mutex_lock(&workers->groups.lock);
    const struct group *group = find_serial(&workers->groups, serial);
    const bool has = group && worker_group_is_ready(group);
    pthread_mutex_unlock(&workers->groups.lock);
    return has;
}

bool workers_hold(struct workers *workers, uint64_t serial, int64_t bytes)
{
    pthread_mutex_lock(&workers->groups.lock);
    struct group *group = find_serial(&workers->groups, serial);
    const bool there = group && worker_group_is_ready(group);
    if (there) {
        group->taken_bytes += bytes;
        group->session_bytes += bytes;
    }
    pthread_mutex_unlock(&workers->groups.lock);
    return there;
}

/* The group stays while it is told: whoever lets go holds it as a request does. */
void workers_let_go(struct workers *workers, uint64_t serial, uint64_t run, int64_t bytes)
{
    Longhaul__Control__V1__LetGo let_go = LONGHAUL__CONTROL__V1__LET_GO__INIT;
    Longhaul__Control__V1__CoordinatorMessage message =
        LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_LET_GO;
    message.let_go = &let_go;
    let_go.run = run;
    pthread_mutex_lock(&workers->groups.lock);
    struct group *group = find_serial(&workers->groups, serial);
    if (group) {
        group->holders++;
        group->session_bytes -= bytes;
    }
    pthread_mutex_unlock(&workers->groups.lock);
    if (!group)
        return;
    for (int rank = 0; rank < group->size; rank++)
        if (worker_group_send(group, rank, &message) != STATUS_OK)
            log_line(LOG_DEBUG, "not let go", log_text("cause", status_message()));
    worker_group_release(group, bytes);
}

void workers_release(const struct workers_place *place)
{
    worker_group_release(place->group, place->pool_bytes);
}

void workers_stop(struct workers *workers, const char *reason, int64_t timeout_ms)
{
    int64_t deadline_ns = clock_after_ms(timeout_ms);
    pthread_mutex_lock(&workers->groups.lock);
    workers->groups.stopping = true;
    snprintf(workers->stop_reason, sizeof workers->stop_reason, "%s", reason);
    while (workers->groups.first &&
           clock_wait(&workers->groups.left, &workers->groups.lock, deadline_ns))
        ;
    pthread_mutex_unlock(&workers->groups.lock);
}
