/* Owns one rank's control stream and its engine. Promises that the coordinator hears of every
 * request's end, or sees the stream break.
 *
 * Two threads: the rank's own computes; the listener reads the stream, beats, and fills the table
 * of commands.
 *
 *   joining  --Welcome (enter_group)-->                               loading
 *   loading  --Loaded is sent (load)-->                               idle
 *   idle     --Run (take_command, wait_for_command)-->                running
 *   running  --Done is sent, no other Run is there (end_run)-->       idle
 *   any      --Stop (handle_message)-->                               ended
 *   joining  --no coordinator in time, or a refusal (enter_group)-->  failed
 *   any      --the stream breaks (listen_to_coordinator), the
 *              coordinator is silent (check_silence), a peer is lost
 *              (wait_for_command, take_turn)-->                       failed
 */
#include "worker/serve.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/clock.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "proto/log.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "worker/command_table.h"
#include "worker/engine/engine.h"
#include "worker/host_binding.h"
#include "worker/introduction.h"
#include "worker/join.h"
#include "worker/link_rate.h"
#include "worker/own_address.h"
#include "worker/process_memory.h"
#include "worker/rank_mesh.h"
#include "worker/reports.h"

enum {
    HOST_BYTES = 64,
    GPU_BYTES = 128,
    MESSAGE_BYTES = 512,
    LOOK_MS = 100,     /* between looks at the transport while waiting */
    PROGRESS_MS = 100, /* between reports of progress */
};

struct serve_rank {
    struct transport *transport;
    const struct serve_options *options;
    struct rpc_stream *stream;
    struct reports reports;
    struct introduction introduction;
    struct join_welcome welcome;
    struct clock_watch silence; /* of the coordinator; the listener's own */
    char digest[DIGEST_HEX_BYTES];
    const char *kernels;
    struct host_binding cores;
    struct own_address own;
    char gpu[GPU_BYTES];  /* what it is, and where; "": none */
    int64_t memory_bytes; /* for this rank's arenas */
    struct engine *engine;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ending;            /* told to stop, or the stream is gone */
    enum status end_status; /* why */
    char end_message[MESSAGE_BYTES];
    struct command_table commands;
};

/* ---- joining ---- */

/* What the rank got of its host; the texts are borrowed. */
static void tell_placement(Longhaul__Control__V1__Hello *hello, const struct serve_rank *rank)
{
    const struct binding *binding = &rank->cores.binding;
    const struct cuda_streams *streams = rank->options->streams;
    hello->threads = binding->threads;
    hello->cpus = (char *)binding->cpus;
    hello->memory_nodes = (char *)binding->nodes;
    hello->cores_shared = !binding->pinned && !streams;
    hello->foreign_cores = binding->foreign_cores;
    hello->address = (char *)rank->own.address;
    hello->interface = (char *)rank->own.interface;
    hello->gpu = (char *)rank->gpu;
    hello->shared_memory_bus = streams ? streams->ranks > 1 : rank->transport->local_size > 1;
}

/* Joins the coordinator; the stream is the rank's from here on. */
static enum status enter_group(struct serve_rank *rank, struct rpc_client *client)
{
    char host[HOST_BYTES] = "";
    char *kernels[] = {(char *)rank->kernels};
    gethostname(host, sizeof host - 1);
    Longhaul__Control__V1__Hello hello = LONGHAUL__CONTROL__V1__HELLO__INIT;
    hello.version = (char *)LONGHAUL_VERSION;
    hello.group_id = rank->introduction.group_id;
    hello.rank = rank->transport->rank;
    hello.size = rank->transport->size;
    hello.host = host;
    hello.pid = getpid();
    hello.model_digest = rank->digest;
    hello.n_kernels = 1;
    hello.kernels = kernels;
    hello.memory_bytes = rank->memory_bytes;
    hello.transport = (char *)rank->transport->name;
    tell_placement(&hello, rank);
    const struct join_args args = {
        .client = client,
        .transport = rank->transport,
        .secret_file = rank->options->join_secret,
        .deadline_ms = rank->options->join_deadline_ms,
        .silence_ms = rank->options->heartbeat_timeout_ms,
        .hello = &hello,
    };
    return join(&rank->stream, &rank->welcome, &args);
}

/* ---- the listener ---- */

static void end_with(struct serve_rank *rank, enum status status, const char *message)
{
    pthread_mutex_lock(&rank->lock);
    if (!rank->ending) {
        rank->ending = true;
        rank->end_status = status;
        snprintf(rank->end_message, sizeof rank->end_message, "%s", message);
    }
    pthread_cond_broadcast(&rank->changed);
    pthread_mutex_unlock(&rank->lock);
    if (status != STATUS_OK)
        transport_abort(rank->transport, message);
}

/* Blocks may come as soon as the command is there. */
static enum status open_port(struct serve_rank *rank, struct command *command)
{
    struct cache_header header;
    if (command->refused != STATUS_OK ||
        (command->kind != ENGINE_SAVE && command->kind != ENGINE_RESTORE))
        return STATUS_OK;
    cache_header_plan(&header, &command->choice, engine_shape(rank->engine), command->count);
    return block_port_create(&command->port, &header, command->number, &rank->reports);
}

static enum status take_command(struct serve_rank *rank, const Longhaul__Control__V1__Run *run)
{
    struct command *command;
    TRY(command_create(&command, run));
    enum status status = open_port(rank, command);
    pthread_mutex_lock(&rank->lock);
    if (status == STATUS_OK)
        status = command_table_add(&rank->commands, command);
    pthread_cond_broadcast(&rank->changed);
    pthread_mutex_unlock(&rank->lock);
    if (status != STATUS_OK)
        command_destroy(command);
    return status;
}

/* Under the lock. */
static void cut_short(struct serve_rank *rank, struct command_entry *entry)
{
    entry->cut_short = STATUS_CANCELLED;
    if (entry->running)
        engine_cancel(rank->engine, entry->command->number, STATUS_CANCELLED);
}

/* One that is over already is nobody's. */
static void cancel_run(struct serve_rank *rank, uint64_t run)
{
    pthread_mutex_lock(&rank->lock);
    struct command_entry *entry = command_table_find(&rank->commands, run);
    if (entry)
        cut_short(rank, entry);
    pthread_mutex_unlock(&rank->lock);
}

static enum status let_go(struct serve_rank *rank, uint64_t run)
{
    if (rank->transport->rank != 0)
        return STATUS_OK; /* it hears of it by a turn */
    pthread_mutex_lock(&rank->lock);
    const enum status status = command_table_let_go(&rank->commands, run);
    pthread_mutex_unlock(&rank->lock);
    return status;
}

/* Those of a command that is over are nobody's. */
static enum status take_block(struct serve_rank *rank, const Longhaul__Control__V1__RunBlock *block)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&rank->lock);
    const struct command_entry *entry = command_table_find(&rank->commands, block->run);
    if (entry && entry->command->port)
        status = block_port_take(entry->command->port, block);
    pthread_mutex_unlock(&rank->lock);
    return status;
}

static void count_taken(struct serve_rank *rank, const Longhaul__Control__V1__RunBlocksTaken *taken)
{
    pthread_mutex_lock(&rank->lock);
    const struct command_entry *entry = command_table_find(&rank->commands, taken->run);
    if (entry && entry->command->port)
        block_port_taken(entry->command->port, taken->blocks);
    pthread_mutex_unlock(&rank->lock);
}

/* A group that is told to stop does not finish its requests first. */
static void cut_all_short(struct serve_rank *rank)
{
    pthread_mutex_lock(&rank->lock);
    for (int e = 0; e < rank->commands.count; e++)
        cut_short(rank, &rank->commands.entries[e]);
    pthread_mutex_unlock(&rank->lock);
}

static enum status handle_message(struct serve_rank *rank,
                                  const Longhaul__Control__V1__CoordinatorMessage *message)
{
    switch (message->kind_case) {
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN:
        return take_command(rank, message->run);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_CANCEL:
        cancel_run(rank, message->cancel->run);
        return STATUS_OK;
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_BLOCK:
        return take_block(rank, message->block);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_BLOCKS_TAKEN:
        count_taken(rank, message->blocks_taken);
        return STATUS_OK;
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_LET_GO:
        return let_go(rank, message->let_go->run);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_STOP:
        end_with(rank, STATUS_OK, message->stop->reason);
        cut_all_short(rank);
        return STATUS_OK;
    default: /* a second Welcome changes nothing */
        return STATUS_OK;
    }
}

static enum status beat(struct serve_rank *rank)
{
    double work_age_seconds = 0;
    pthread_mutex_lock(&rank->lock);
    const int runs = rank->commands.count;
    if (rank->engine && runs > 0)
        work_age_seconds = 1e-9 * (double)(clock_now_ns() - engine_last_active_ns(rank->engine));
    pthread_mutex_unlock(&rank->lock);
    return reports_beat(&rank->reports, runs, work_age_seconds);
}

/* A coordinator that answers no heartbeat is stopped, or cut off. */
static enum status check_silence(struct serve_rank *rank)
{
    const int64_t beat_ms = rank->welcome.heartbeat_ms;
    const int64_t silent_ms = clock_watch_look(&rank->silence, 2 * beat_ms);
    const int64_t most_ms = rank->options->heartbeat_timeout_ms > 2 * beat_ms
                                ? rank->options->heartbeat_timeout_ms
                                : 2 * beat_ms;
    if (silent_ms <= most_ms)
        return STATUS_OK;
    return fail(STATUS_UNAVAILABLE, "the coordinator was silent for %.1f s",
                (double)silent_ms / 1000);
}

static enum status listen_once(struct serve_rank *rank, int64_t *next_beat_ns)
{
    const ProtobufCMessage *message = NULL;
    int64_t left_ms = (*next_beat_ns - clock_now_ns()) / 1000000;
    enum status status = rpc_stream_read(rank->stream, &message, left_ms > 0 ? left_ms : 1);
    if (status == STATUS_OK && !message) {
        TRY(rpc_stream_finish(rank->stream));
        return fail(STATUS_UNAVAILABLE, "the coordinator ended the control stream");
    }
    if (status == STATUS_OK) {
        clock_watch_start(&rank->silence);
        TRY(handle_message(rank, (const void *)message));
    } else if (status != STATUS_DEADLINE_EXCEEDED) {
        return status;
    }
    TRY(check_silence(rank));
    if (clock_now_ns() < *next_beat_ns)
        return STATUS_OK;
    *next_beat_ns = clock_after_ms(rank->welcome.heartbeat_ms);
    return beat(rank);
}

/* Whether the coordinator will never have this rank as it is: another version or model. */
static bool is_refusal(enum status status)
{
    return status == STATUS_FAILED_PRECONDITION || status == STATUS_INVALID_ARGUMENT ||
           status == STATUS_UNIMPLEMENTED;
}

static void *listen_to_coordinator(void *argument)
{
    struct serve_rank *rank = argument;
    int64_t next_beat_ns = clock_after_ms(rank->welcome.heartbeat_ms);
    bool ending = false;
    clock_watch_start(&rank->silence);
    while (!ending) {
        enum status status = listen_once(rank, &next_beat_ns);
        if (status != STATUS_OK)
            end_with(rank, is_refusal(status) ? status : STATUS_UNAVAILABLE, status_message());
        /* Writes that still wait for a coordinator that is lost fail, once it is known why. */
        if (status == STATUS_UNAVAILABLE)
            rpc_stream_cancel(rank->stream);
        pthread_mutex_lock(&rank->lock);
        ending = rank->ending;
        pthread_mutex_unlock(&rank->lock);
    }
    return NULL;
}

/* ---- a run ---- */

/* A command that the engine has, and whom it tells of it. */
struct run {
    struct serve_rank *rank;
    const struct command *command;
    struct engine_request request;
    struct engine_observer observer;
    struct engine_port port; /* of a command that has one */
    int64_t told_progress_ns;
};

static void must_be_told(struct serve_rank *rank, enum status told)
{
    if (told != STATUS_OK)
        end_with(rank, STATUS_UNAVAILABLE, status_message());
}

static void tell_progress(void *context, int64_t tokens_done, int64_t tokens)
{
    struct run *run = context;
    if (tokens_done < tokens && clock_now_ns() < run->told_progress_ns)
        return;
    run->told_progress_ns = clock_after_ms(PROGRESS_MS);
    must_be_told(run->rank,
                 reports_progress(&run->rank->reports, run->command->number, tokens_done, tokens));
}

static void tell_token(void *context, int32_t id, const struct logprobs *logprobs)
{
    const struct run *run = context;
    must_be_told(run->rank, reports_token(&run->rank->reports, run->command->number, id, logprobs));
}

static void tell_scores(void *context, int64_t first, const float *logprobs, int64_t count)
{
    const struct run *run = context;
    must_be_told(run->rank,
                 reports_scores(&run->rank->reports, run->command->number, first, logprobs, count));
}

/* The coordinator may send another command while Done is on its way: this one's place must be free
 * by then. */
static void end_run(void *context, enum status status, const struct engine_result *result)
{
    struct run *run = context;
    struct serve_rank *rank = run->rank;
    const uint64_t number = run->command->number;
    if (status != STATUS_OK) {
        log_request(run->command->request_id);
        log_line(engine_usable(rank->engine) ? LOG_INFO : LOG_ERROR, "request ended",
                 log_text("code", status_name(status)), log_text("cause", status_message()));
        log_request(NULL);
    }
    if (run->command->trace && engine_usable(rank->engine))
        must_be_told(rank, reports_trace(&rank->reports, number, run->command->trace));
    pthread_mutex_lock(&rank->lock);
    command_destroy(command_table_remove(&rank->commands, number));
    pthread_mutex_unlock(&rank->lock);
    free(run);
    if (!engine_usable(rank->engine))
        return;
    must_be_told(rank, reports_done(&rank->reports, number, status, result));
}

/* A plan is made for a group as it is; a peer with another variant would compute other bits. */
static enum status check_group(const struct serve_rank *rank, const struct group_choice *planned)
{
    const struct group_choice *group = engine_group(rank->engine);
    if (planned->workers != group->workers ||
        group_choice_tensor(planned) != group_choice_tensor(group))
        return fail(STATUS_FAILED_PRECONDITION,
                    "the plan is for %d workers of %d ranks each; this group has %d of %d",
                    planned->workers, group_choice_tensor(planned), group->workers,
                    group_choice_tensor(group));
    if (strcmp(planned->kernels, group->kernels) != 0 || planned->cache != group->cache)
        return fail(STATUS_FAILED_PRECONDITION,
                    "the plan is for kernels %s and a cache in %s; rank %d was started with %s and "
                    "%s",
                    planned->kernels, choice_cache_name(planned->cache), rank->transport->rank,
                    group->kernels, choice_cache_name(group->cache));
    if (planned->panel_tokens != group->panel_tokens ||
        planned->block_tokens != group->block_tokens ||
        planned->receive_slots != group->receive_slots)
        return fail(STATUS_FAILED_PRECONDITION,
                    "the plan is for panels, blocks or slots that rank %d does not have",
                    rank->transport->rank);
    return STATUS_OK;
}

/* What the engine gets of a command that begins. */
static enum status begin_run(struct serve_rank *rank, struct run **begun, struct command *command)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a run");
    if (command->refused == STATUS_OK) {
        command->refused = check_group(rank, &command->choice.group);
        if (command->refused != STATUS_OK)
            snprintf(command->refusal, sizeof command->refusal, "%s", status_message());
    }
    *run = (struct run){
        .rank = rank,
        .command = command,
        .request = command_request(command),
        .observer = {run, tell_progress, tell_token, tell_scores, end_run},
    };
    if (command->port) {
        run->port = block_port_view(command->port);
        run->request.port = &run->port;
    }
    *begun = run;
    return STATUS_OK;
}

/* Rank 0 hands every command that waits to its engine, in the order in which they came. */
static enum status admit_commands(struct serve_rank *rank)
{
    for (;;) {
        struct run *run;
        pthread_mutex_lock(&rank->lock);
        struct command *command = command_table_begin(&rank->commands);
        pthread_mutex_unlock(&rank->lock);
        if (!command)
            return STATUS_OK;
        TRY(begin_run(rank, &run, command));
        TRY(engine_admit(rank->engine, command->number, &run->request, &run->observer));
        pthread_mutex_lock(&rank->lock);
        const struct command_entry *entry = command_table_find(&rank->commands, command->number);
        if (entry->cut_short != STATUS_OK) /* perhaps before the engine knew it */
            engine_cancel(rank->engine, command->number, entry->cut_short);
        pthread_mutex_unlock(&rank->lock);
    }
}

/* The other ranks wait for the command that rank 0 has admitted: their streams are others. A peer
 * that is lost meanwhile ends the wait. */
static enum status find_run(void *context, uint64_t number, struct engine_job *job)
{
    struct serve_rank *rank = context;
    const int64_t deadline_ns = clock_after_ms(rank->options->heartbeat_timeout_ms);
    struct command *command = NULL;
    struct run *run;
    enum status status = STATUS_OK;
    pthread_mutex_lock(&rank->lock);
    while (!command && status == STATUS_OK) {
        struct command_entry *entry = command_table_find(&rank->commands, number);
        if (entry) {
            entry->running = true;
            command = entry->command;
        } else if (rank->ending || clock_now_ns() >= deadline_ns) {
            break;
        } else {
            clock_wait(&rank->changed, &rank->lock, clock_after_ms(LOOK_MS));
            status = transport_progress(rank->transport);
        }
    }
    pthread_mutex_unlock(&rank->lock);
    TRY(status);
    if (!command)
        return fail(STATUS_UNAVAILABLE, "rank %d was not told of run %llu, which rank 0 began",
                    rank->transport->rank, (unsigned long long)number);
    TRY(begin_run(rank, &run, command));
    *job = (struct engine_job){&run->request, &run->observer};
    return STATUS_OK;
}

/* ---- the rank ---- */

static enum status lost(struct serve_rank *rank)
{
    if (rank->end_status == STATUS_OK)
        return STATUS_OK;
    return fail(rank->end_status, "%s", rank->end_message);
}

/* Waits for a command, an end or a lost peer. Commands that came before a Stop end first: a peer
 * that saw the one before the other waits for this rank. */
static enum status wait_for_command(struct serve_rank *rank, bool *ended)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&rank->lock);
    while (rank->commands.count == 0 && !rank->ending && status == STATUS_OK) {
        clock_wait(&rank->changed, &rank->lock, clock_after_ms(LOOK_MS));
        status = transport_progress(rank->transport);
    }
    *ended = rank->ending && (rank->end_status != STATUS_OK || rank->commands.count == 0);
    if (rank->ending)
        status = lost(rank); /* a peer that stopped first is no failure */
    pthread_mutex_unlock(&rank->lock);
    return status;
}

/* Rank 0 lets go what it was told to. Commands that go on from it and came before are with the
 * engine first. */
static enum status let_go_all(struct serve_rank *rank)
{
    for (;;) {
        uint64_t number;
        pthread_mutex_lock(&rank->lock);
        const bool there = command_table_goer(&rank->commands, &number);
        pthread_mutex_unlock(&rank->lock);
        if (!there)
            return STATUS_OK;
        TRY(admit_commands(rank));
        TRY(engine_let_go(rank->engine, number));
    }
}

/* One turn of the group. While nobody asks for anything, what is to go stays: nobody needs its
 * memory. */
static enum status take_turn(struct serve_rank *rank)
{
    bool busy;
    if (rank->transport->rank == 0) {
        TRY(let_go_all(rank));
        TRY(admit_commands(rank));
    }
    TRY(engine_step(rank->engine, &busy));
    return reports_flush(&rank->reports);
}

/* What the process holds beside its ranks' arenas, and what its first request will touch of the
 * libraries' buffers, stacks and heap. */
static enum status find_base(struct serve_rank *rank, int64_t weights)
{
    enum { TOUCHED_LATER_BYTES = 8 << 20 };
    struct transport *transport = rank->transport;
    int64_t held = process_memory_anonymous() - weights;
    if (rank->options->process_ranks > 1) { /* all of the group, and slices differ */
        int64_t *all = calloc((size_t)transport->size, sizeof *all);
        if (!all)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to weigh %d ranks", transport->size);
        const enum status status = transport_gather_each(transport, &weights, all, sizeof *all);
        for (int r = 0; r < transport->size; r++)
            held -= r == transport->rank ? 0 : all[r];
        free(all);
        TRY(status);
    }
    rank->reports.base_bytes = (held > 0 ? held : 0) + TOUCHED_LATER_BYTES;
    return STATUS_OK;
}

/* The links' messages with their storage. */
struct link_message {
    Longhaul__Control__V1__LinkRate rates[LINK_RATE_PAIRS_MAX];
    Longhaul__Control__V1__LinkRate *pointers[LINK_RATE_PAIRS_MAX];
};

static void set_links(Longhaul__Control__V1__Loaded *loaded, struct link_message *message,
                      const struct link_rates *links)
{
    for (int p = 0; p < links->count; p++) {
        const struct link_rate *pair = &links->pairs[p];
        Longhaul__Control__V1__LinkRate *rate = message->pointers[p] = &message->rates[p];
        longhaul__control__v1__link_rate__init(rate);
        rate->from_rank = pair->from;
        rate->to_rank = pair->to;
        rate->bytes_per_second = pair->link.bytes_per_second;
        rate->latency_seconds = pair->link.latency_s;
        rate->message_seconds = pair->link.message_s;
    }
    loaded->links = message->pointers;
    loaded->n_links = (size_t)links->count;
    loaded->host_ranks = links->host_ranks;
}

static const struct cost_link *slowest_link(const struct link_rates *links)
{
    return links->between.bytes_per_second > 0 ? &links->between : &links->within;
}

/* On a GPU a rank has the whole model. */
static enum status choose_mesh(struct serve_rank *rank, struct rank_mesh *mesh,
                               const struct model *model)
{
    const struct rank_mesh_args args = {
        .asked = rank->options->mesh,
        .model = model,
        .kernels = rank->options->streams ? NULL : kernels_find(rank->kernels),
        .int8_cache = rank->options->int8_cache,
        .threads = rank->cores.binding.threads,
        .sequences = rank->commands.room,
        .context_tokens = rank->welcome.context_tokens,
        .memory_bytes = rank->memory_bytes,
        .nodes = rank->cores.binding.nodes,
    };
    return rank_mesh_choose(mesh, rank->transport, &args);
}

static enum status load(struct serve_rank *rank, const struct model *model)
{
    int64_t begun_ns = clock_now_ns();
    struct rank_mesh mesh;
    TRY(choose_mesh(rank, &mesh, model));
    struct engine_options options = {
        .kernels = rank->kernels,
        .int8_cache = rank->options->int8_cache,
        .binding = &rank->cores.binding,
        .memory_bytes = rank->memory_bytes,
        .streams = rank->options->streams,
        .group = group_choice_usual(mesh.mesh.sequence),
        .source = {rank, find_run},
    };
    struct engine *engine;
    options.group.tensor = mesh.mesh.tensor;
    memory_group_size(&options.group, rank->commands.room, rank->welcome.context_tokens);
    TRY(engine_create(&engine, model, rank->transport, &options));
    pthread_mutex_lock(&rank->lock);
    rank->engine = engine;
    pthread_mutex_unlock(&rank->lock);
    struct link_rates links;
    TRY(link_rate_measure(&links, rank->transport));
    const struct memory_request *needs = engine_needs(engine);
    const struct group_choice *group = engine_group(engine);
    int64_t weights = engine_shape(engine)->weights_bytes;
    TRY(find_base(rank, weights));
    Longhaul__Control__V1__Loaded loaded = LONGHAUL__CONTROL__V1__LOADED__INIT;
    loaded.seconds = clock_seconds_since(begun_ns);
    loaded.weights_bytes = weights;
    loaded.memory_bytes = engine_memory_bytes(engine);
    loaded.base_bytes = rank->reports.base_bytes;
    loaded.cache = (Longhaul__Control__V1__CacheType)(group->cache + 1);
    loaded.scratch_bytes = needs->scratch_bytes;
    loaded.logit_rows = needs->logit_rows;
    loaded.list_row_bytes = needs->list_row_bytes;
    loaded.list_panel_bytes = needs->list_panel_bytes;
    loaded.runs_max = rank->commands.room;
    loaded.context_tokens = group->context_tokens;
    loaded.stage_rows = group->stage_rows;
    loaded.step_rows = group->step_rows;
    loaded.pool_slots = group->pool_slots;
    loaded.tensor = mesh.mesh.tensor;
    loaded.whole_bytes = mesh.whole_bytes;
    loaded.weight_sharers = engine_weight_sharers(engine);
    struct link_message told;
    set_links(&loaded, &told, &links);
    loaded.pool_bytes = group->pool_slots * memory_slot_bytes(group, engine_shape(engine));
    log_line(LOG_INFO, "ready", log_text("engine", engine_facts(engine)),
             log_text("exchange", rank->transport->facts),
             log_real("load_seconds", loaded.seconds, 2),
             log_real("link_mb_per_second", slowest_link(&links)->bytes_per_second / 1e6, 0),
             log_real("link_us", slowest_link(&links)->latency_s * 1e6, 0),
             log_real("weights_mib", (double)weights / 0x1p20, 1),
             log_integer("weight_sharers", loaded.weight_sharers),
             log_real("base_mib", (double)rank->reports.base_bytes / 0x1p20, 1));
    return reports_loaded(&rank->reports, &loaded);
}

static enum status live(struct serve_rank *rank, struct model **model)
{
    if (rank->options->refused != STATUS_OK)
        return fail(rank->options->refused, "%s", rank->options->refusal);
    bool ended = false;
    enum status status = load(rank, *model);
    model_close(*model);
    *model = NULL;
    while (status == STATUS_OK && !ended) {
        status = wait_for_command(rank, &ended);
        if (status == STATUS_OK && !ended)
            status = take_turn(rank);
    }
    return status;
}

/* What came first: a write that fails since its stream was given up is no cause. */
static enum status first_cause(struct serve_rank *rank, enum status status)
{
    pthread_mutex_lock(&rank->lock);
    if (status != STATUS_OK && rank->ending && rank->end_status != STATUS_OK)
        status = lost(rank);
    pthread_mutex_unlock(&rank->lock);
    return status;
}

/* From Hello to the rank's end, which its coordinator is told. */
static enum status live_in_group(struct serve_rank *rank, struct model **model)
{
    pthread_t listener;
    char reason[MESSAGE_BYTES];
    if (pthread_create(&listener, NULL, listen_to_coordinator, rank) != 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no thread to listen to the coordinator");
    const enum status status = first_cause(rank, live(rank, model));
    snprintf(reason, sizeof reason, "%s", status_message());
    /* It may well be the stream that failed. */
    if (status != STATUS_OK && reports_failed(&rank->reports, status) != STATUS_OK)
        log_line(LOG_WARN, "the coordinator could not be told",
                 log_text("cause", status_message()));
    end_with(rank, status, reason);
    rpc_stream_cancel(rank->stream);
    pthread_join(listener, NULL);
    return status == STATUS_OK ? STATUS_OK : fail(status, "%s", reason);
}

/* On a GPU the host's threads compute nothing: they hold no cores. */
static enum status choose_cores(struct serve_rank *rank)
{
    struct transport *transport = rank->transport;
    const int threads = rank->options->threads;
    if (rank->options->streams) {
        TRY(binding_choose(&rank->cores.binding, transport->local_rank, transport->local_size,
                           threads));
    } else {
        TRY(host_binding_agree(&rank->cores, transport, threads, NULL));
        transport_set_cores_short(transport, !rank->cores.binding.pinned);
    }
    return STATUS_OK;
}

static enum status serve_joined(struct serve_rank *rank, struct rpc_client *client,
                                struct model **model)
{
    enum status status = STATUS_OK;
    TRY(choose_cores(rank));
    digest_model(rank->digest, *model);
    TRY(introduction_make(&rank->introduction, rank->transport));
    rank->kernels = rank->options->kernels ? rank->options->kernels : rank->introduction.kernels;
    if (rank->options->streams)
        rank->kernels = "cuda";
    TRY(enter_group(rank, client));
    TRY_ELSE(command_table_init(&rank->commands, rank->welcome.runs), close);
    TRY_ELSE(reports_init(&rank->reports, rank->stream, rank->welcome.runs), close);
    status = live_in_group(rank, model);
    reports_deinit(&rank->reports);
close:
    rpc_stream_close(rank->stream);
    command_table_deinit(&rank->commands);
    return status;
}

enum status serve(struct transport *transport, struct rpc_client *client,
                  const struct serve_options *options)
{
    struct serve_rank rank = {
        .transport = transport,
        .options = options,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
        .memory_bytes = process_memory_available() / transport->local_size,
    };
    struct model *model = NULL;
    if (options->memory_bytes > 0 && options->memory_bytes < rank.memory_bytes)
        rank.memory_bytes = options->memory_bytes;
    if (options->streams) {
        const struct cuda_facts *facts = &options->streams->facts;
        rank.memory_bytes = facts->free_bytes / options->streams->ranks;
        snprintf(rank.gpu, sizeof rank.gpu, "%s, %s", facts->name, facts->bus);
    }
    own_address_find(&rank.own, options->coordinator);
    transport_set_silence(transport, options->heartbeat_timeout_ms * 1000000);
    enum status status = model_open(&model, options->model_path);
    if (status == STATUS_OK)
        status = serve_joined(&rank, client, &model);
    if (status != STATUS_OK)
        transport_abort(transport, status_message());
    else
        engine_destroy(rank.engine);
    host_binding_release(&rank.cores);
    model_close(model);
    return status;
}
