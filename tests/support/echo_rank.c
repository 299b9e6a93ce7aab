/* Owns one rank's stream, its runs and the prefixes that it holds. Promises that a run ends with a
 * Done, unless the rank is told to fail.
 *
 * Two threads, as in a real worker: the rank's own takes turns; the listener reads the stream,
 * beats, and fills the table of commands.
 *
 *   waiting  --it is begun (begin_runs)-->               reading
 *   reading  --its last stage is over (end_turn)-->      answering
 *   any      --all is told, it is cancelled, late or
 *              refused (end_run)-->                      gone
 */
#include "tests/support/echo_rank.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "tests/support/echo_answer.h"
#include "tests/support/echo_prefixes.h"
#include "worker/command_table.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/join.h"
#include "worker/reports.h"

enum {
    HOST_BYTES = 64,
    PROGRESS_MS = 100,
    LATE_MS = 20,
    LOOK_MS = 100,
    SCORES_MAX = 1 << 14,
    SENTENCE_BYTES = 512
};

struct echo_run {
    struct command *command; /* the table's */
    uint64_t prompt;         /* echo_answer_prompt */
    uint64_t *names;         /* [panels] of its prefix */
    int64_t panels, held;
    int64_t cached, read, told;
    bool poisonous, failing, not_finite;
    int64_t begun_ns, answering_ns, progress_ns;
};

enum turn { TURN_NONE, TURN_STAGE, TURN_STEP };

struct echo_rank {
    const struct echo_rank_settings *settings;
    struct rpc_stream *stream;
    struct reports reports;
    struct echo_prefixes *prefixes;
    struct echo_run *runs; /* [run_count] of [commands.room], in the sequence in which they began */
    int run_count;
    bool has_hung;
    enum turn turn, last; /* what is being done, and was done before */
    int64_t turn_ends_ns; /* and where none is, when the last one was over */
    int64_t stage_tokens; /* of TURN_STAGE */
    int64_t ended;        /* runs */
    int64_t heartbeat_ms;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct command_table commands;
    int64_t worked_ns; /* when a turn was last over, or the rank idle */
    int64_t hung_until_ns;
    bool stopping, ending;
    enum status end_status;
    char end_message[SENTENCE_BYTES];
};

/* ---- the stream ---- */

static enum status enter(struct echo_rank *rank, struct rpc_client *client,
                         struct transport *transport, struct join_welcome *welcome)
{
    const struct echo_rank_settings *settings = rank->settings;
    char host[HOST_BYTES] = "", kernels_name[] = "reference";
    char *kernels[] = {kernels_name};
    gethostname(host, sizeof host - 1);
    Longhaul__Control__V1__Hello hello = LONGHAUL__CONTROL__V1__HELLO__INIT;
    hello.version = (char *)LONGHAUL_VERSION;
    hello.group_id = (char *)settings->group;
    hello.rank = settings->rank;
    hello.size = settings->size;
    hello.host = host;
    hello.pid = getpid();
    hello.model_digest = (char *)settings->model_digest;
    hello.threads = 1;
    hello.n_kernels = 1;
    hello.kernels = kernels;
    hello.memory_bytes = settings->memory_bytes;
    hello.transport = (char *)"loopback";
    hello.shared_memory_bus = true;
    const struct join_args args = {
        .client = client,
        .transport = transport,
        .secret_file = settings->secret_file,
        .deadline_ms = settings->join_deadline_ms,
        .hello = &hello,
    };
    return join(&rank->stream, welcome, &args);
}

static enum status say_loaded(struct echo_rank *rank)
{
    Longhaul__Control__V1__Loaded loaded = LONGHAUL__CONTROL__V1__LOADED__INIT;
    loaded.seconds = (double)rank->settings->load_ms / 1000;
    loaded.weights_bytes = 1000;
    loaded.cache = LONGHAUL__CONTROL__V1__CACHE_TYPE__CACHE_TYPE_F32;
    loaded.logit_rows = 1;
    loaded.runs_max = rank->commands.room;
    return reports_loaded(&rank->reports, &loaded);
}

/* ---- the listener ---- */

static void end_with(struct echo_rank *rank, enum status status)
{
    pthread_mutex_lock(&rank->lock);
    if (!rank->ending) {
        rank->ending = true;
        rank->end_status = status;
        snprintf(rank->end_message, sizeof rank->end_message, "%s", status_message());
    }
    pthread_cond_broadcast(&rank->changed);
    pthread_mutex_unlock(&rank->lock);
}

/* Under the lock. */
static enum status take_run(struct echo_rank *rank, const Longhaul__Control__V1__Run *run)
{
    struct command *command;
    TRY(command_create(&command, run));
    const enum status status = command_table_add(&rank->commands, command);
    if (status != STATUS_OK)
        command_destroy(command);
    return status;
}

/* Under the lock. */
static enum status take_message(struct echo_rank *rank,
                                const Longhaul__Control__V1__CoordinatorMessage *message)
{
    struct command_entry *entry;
    switch (message->kind_case) {
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN:
        return take_run(rank, message->run);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_CANCEL:
        entry = command_table_find(&rank->commands, message->cancel->run);
        if (entry)
            entry->cut_short = STATUS_CANCELLED;
        return STATUS_OK;
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_STOP:
        rank->stopping = true;
        for (int e = 0; e < rank->commands.count; e++)
            rank->commands.entries[e].cut_short = STATUS_CANCELLED;
        return STATUS_OK;
    default:
        return STATUS_OK;
    }
}

static enum status beat(struct echo_rank *rank)
{
    pthread_mutex_lock(&rank->lock);
    const int runs = rank->commands.count;
    const int64_t age_ns = runs > 0 ? clock_now_ns() - rank->worked_ns : 0;
    pthread_mutex_unlock(&rank->lock);
    return reports_beat(&rank->reports, runs, age_ns > 0 ? 1e-9 * (double)age_ns : 0);
}

static enum status listen_once(struct echo_rank *rank, int64_t *next_beat_ns)
{
    const ProtobufCMessage *message = NULL;
    const int64_t left_ms = (*next_beat_ns - clock_now_ns()) / 1000000;
    enum status status = rpc_stream_read(rank->stream, &message, left_ms > 0 ? left_ms : 1);
    if (status == STATUS_OK && !message) {
        TRY(rpc_stream_finish(rank->stream));
        return fail(STATUS_UNAVAILABLE, "the coordinator ended the control stream");
    }
    if (status == STATUS_OK) {
        pthread_mutex_lock(&rank->lock);
        status = take_message(rank, (const void *)message);
        pthread_cond_broadcast(&rank->changed);
        pthread_mutex_unlock(&rank->lock);
    } else if (status == STATUS_DEADLINE_EXCEEDED) {
        status = STATUS_OK;
    }
    if (status != STATUS_OK || clock_now_ns() < *next_beat_ns)
        return status;
    *next_beat_ns = clock_after_ms(rank->heartbeat_ms);
    return beat(rank);
}

/* Where the rank hangs, so does its listener. */
static bool goes_on(struct echo_rank *rank)
{
    pthread_mutex_lock(&rank->lock);
    while (clock_wait(&rank->changed, &rank->lock, rank->hung_until_ns))
        ;
    const bool going = !rank->ending;
    pthread_mutex_unlock(&rank->lock);
    return going;
}

static void *listen_to_coordinator(void *argument)
{
    struct echo_rank *rank = argument;
    int64_t next_beat_ns = clock_after_ms(rank->heartbeat_ms);
    while (goes_on(rank)) {
        const enum status status = listen_once(rank, &next_beat_ns);
        if (status != STATUS_OK)
            end_with(rank, STATUS_UNAVAILABLE);
    }
    return NULL;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- beginning and ending runs ---- */

static enum status check_choice(const struct echo_rank *rank, const struct command *command)
{
    if (command->choice.group.workers != rank->settings->size)
        return fail(STATUS_FAILED_PRECONDITION, "the plan is for %d workers; this group has %d",
                    command->choice.group.workers, rank->settings->size);
    return STATUS_OK;
}

static bool holds(const struct command *command, int64_t id)
{
    for (int64_t i = 0; i < command->count && id >= 0; i++)
        if (command->ids[i] == id)
            return true;
    return false;
}

static enum status begin_run(struct echo_rank *rank, struct command *command)
{
    const int64_t panels = command->count / ECHO_PREFIXES_PANEL;
    struct echo_run *run = &rank->runs[rank->run_count];
    *run = (struct echo_run){
        .command = command,
        .prompt = echo_answer_prompt(command->ids, command->count),
        .begun_ns = clock_now_ns(),
        .poisonous = holds(command, rank->settings->faults.poison_id),
        .failing = holds(command, rank->settings->faults.fail_id),
        .not_finite = rank->ended < rank->settings->faults.not_finite_runs,
    };
    if (command->refused == STATUS_OK) {
        command->refused = check_choice(rank, command);
        if (command->refused != STATUS_OK)
            snprintf(command->refusal, sizeof command->refusal, "%s", status_message());
    }
    if (command->reuse_prefix && command->refused == STATUS_OK) {
        run->names = malloc((size_t)(panels + 1) * sizeof *run->names);
        if (!run->names)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prefix");
        run->panels = echo_prefixes_name(run->names, command->tenant, command->ids, command->count);
        /* The last token's logits are always computed. */
        const int64_t most = (command->count - 1) / ECHO_PREFIXES_PANEL;
        run->held = echo_prefixes_find(rank->prefixes, run->names, most);
    }
    run->cached = run->read = run->held * ECHO_PREFIXES_PANEL;
    rank->run_count++;
    return STATUS_OK;
}

static enum status begin_runs(struct echo_rank *rank)
{
    for (;;) {
        pthread_mutex_lock(&rank->lock);
        struct command *command = command_table_begin(&rank->commands);
        if (command && rank->run_count == 0)
            rank->worked_ns = clock_now_ns();
        pthread_mutex_unlock(&rank->lock);
        if (!command)
            return STATUS_OK;
        TRY(begin_run(rank, command));
    }
}

/* A status other than OK with its sentence. */
static enum status end_run(struct echo_rank *rank, int which, enum status status)
{
    struct echo_run *run = &rank->runs[which];
    const int64_t now_ns = clock_now_ns();
    const int64_t read_ns = run->answering_ns ? run->answering_ns : now_ns;
    const struct engine_result result = {
        .completion_tokens = run->told,
        .prefilled_tokens = run->command->count - run->cached,
        .cached_tokens = run->cached,
        .prefill_seconds = 1e-9 * (double)(read_ns - run->begun_ns),
        .decode_seconds = 1e-9 * (double)(now_ns - read_ns),
        .not_finite = run->not_finite && status == STATUS_INTERNAL,
    };
    const uint64_t number = run->command->number;
    if (run->names)
        echo_prefixes_leave(rank->prefixes, run->names, run->held);
    free(run->names);
    rank->run_count--;
    memmove(run, run + 1, (size_t)(rank->run_count - which) * sizeof *run);
    pthread_mutex_lock(&rank->lock);
    command_destroy(command_table_remove(&rank->commands, number));
    pthread_mutex_unlock(&rank->lock);
    rank->ended++;
    return reports_done(&rank->reports, number, status, &result);
}

/* Why the run should end before its answer; OK: it should not. */
static enum status check_over(struct echo_rank *rank, const struct echo_run *run)
{
    const struct command *command = run->command;
    const char *stage = run->answering_ns ? "while decoding" : "while reading the prompt";
    if (command->refused != STATUS_OK)
        return fail(command->refused, "%s", command->refusal);
    pthread_mutex_lock(&rank->lock);
    const enum status cut_short = command_table_find(&rank->commands, command->number)->cut_short;
    pthread_mutex_unlock(&rank->lock);
    if (cut_short != STATUS_OK)
        return fail(STATUS_CANCELLED, "the request was cancelled %s", stage);
    if (command->deadline_ns && clock_now_ns() >= command->deadline_ns)
        return fail(STATUS_DEADLINE_EXCEEDED, "the deadline passed %s", stage);
    if (run->failing)
        return fail(STATUS_INTERNAL, "the prompt holds the id that this worker fails on");
    if (run->not_finite)
        return fail(STATUS_INTERNAL, "the logits are not finite");
    return STATUS_OK;
}

static enum status end_early(struct echo_rank *rank)
{
    for (int r = 0; r < rank->run_count;) {
        const enum status status = check_over(rank, &rank->runs[r]);
        if (status == STATUS_OK)
            r++;
        else
            TRY(end_run(rank, r, status));
    }
    return STATUS_OK;
}

/* ---- turns ---- */

/* The first run that reads, or that answers; -1: none. */
static int first_run(const struct echo_rank *rank, bool answering)
{
    for (int r = 0; r < rank->run_count; r++)
        if ((rank->runs[r].answering_ns != 0) == answering)
            return r;
    return -1;
}

/* A turn that follows another one begins where that ended, however late this thread woke up. */
static void begin_turn(struct echo_rank *rank)
{
    const struct echo_rank_settings *settings = rank->settings;
    const int reader = first_run(rank, false);
    const bool answering = first_run(rank, true) >= 0;
    const int64_t now_ns = clock_now_ns();
    const bool follows = now_ns - rank->turn_ends_ns < LATE_MS * INT64_C(1000000);
    const int64_t begin_ns = follows && rank->last != TURN_NONE ? rank->turn_ends_ns : now_ns;
    rank->turn = TURN_NONE;
    if (reader >= 0 && (rank->last != TURN_STAGE || !answering)) {
        const struct echo_run *run = &rank->runs[reader];
        rank->turn = TURN_STAGE;
        rank->stage_tokens = smaller(run->command->count - run->read, settings->stage_tokens);
        rank->turn_ends_ns = begin_ns + rank->stage_tokens * settings->token_us * 1000;
    } else if (answering) {
        rank->turn = TURN_STEP;
        rank->turn_ends_ns = begin_ns + settings->step_us * 1000;
    }
    rank->last = rank->turn;
}

static enum status tell_scores(struct echo_rank *rank, const struct echo_run *run)
{
    float logprobs[SCORES_MAX];
    int64_t count;
    for (int64_t first = 0; first < run->command->count - 1; first += count) {
        count = smaller(run->command->count - 1 - first, SCORES_MAX);
        for (int64_t i = 0; i < count; i++)
            logprobs[i] =
                -(float)(echo_answer_draw((uint64_t)run->command->ids[first + i + 1], 0) % 16);
        TRY(reports_scores(&rank->reports, run->command->number, first, logprobs, count));
    }
    return STATUS_OK;
}

static enum status end_stage(struct echo_rank *rank)
{
    const int which = first_run(rank, false);
    struct echo_run *run = &rank->runs[which];
    const int64_t total = run->command->count;
    run->read += smaller(rank->stage_tokens, total - run->read);
    const bool done = run->read == total;
    if (rank->settings->rank == 0 && (done || clock_now_ns() >= run->progress_ns)) {
        run->progress_ns = clock_after_ms(PROGRESS_MS);
        TRY(reports_progress(&rank->reports, run->command->number, run->read, total));
    }
    if (!done)
        return STATUS_OK;
    run->answering_ns = clock_now_ns();
    if (run->names) {
        /* Those that were found have this run as a user already. */
        int64_t added = 0;
        TRY(echo_prefixes_add(rank->prefixes, &added, run->names + run->held,
                              run->panels - run->held));
        run->held += added;
    }
    if (run->command->kind != ENGINE_SCORE)
        return STATUS_OK;
    if (rank->settings->rank == 0)
        TRY(tell_scores(rank, run));
    return end_run(rank, which, STATUS_OK);
}

/* The n-th likeliest id is n, and its log-probability -n. */
static enum status tell_token(struct echo_rank *rank, struct echo_run *run)
{
    const struct echo_rank_settings *settings = rank->settings;
    const uint64_t draw = echo_answer_draw(run->prompt, run->told);
    const int32_t id = settings->first_id + (int32_t)(draw % (uint64_t)settings->ids);
    struct logprobs logprobs = {.chosen = -(float)(draw % 16), .count = run->command->likeliest};
    for (int n = 0; n < logprobs.count; n++) {
        logprobs.ids[n] = n;
        logprobs.likeliest[n] = -(float)n;
    }
    run->told++;
    if (settings->rank != 0)
        return STATUS_OK;
    return reports_token(&rank->reports, run->command->number, id,
                         run->command->logprobs ? &logprobs : NULL);
}

static enum status end_step(struct echo_rank *rank)
{
    for (int r = 0; r < rank->run_count; r++)
        if (rank->runs[r].answering_ns)
            TRY(tell_token(rank, &rank->runs[r]));
    TRY(reports_flush(&rank->reports));
    for (int r = 0; r < rank->run_count;) {
        const struct echo_run *run = &rank->runs[r];
        if (run->answering_ns && run->told >= run->command->max_tokens)
            TRY(end_run(rank, r, STATUS_OK));
        else
            r++;
    }
    return STATUS_OK;
}

static enum status end_turn(struct echo_rank *rank)
{
    const enum turn turn = rank->turn;
    rank->turn = TURN_NONE;
    /* Its run may have ended meanwhile. */
    if (turn == TURN_STAGE && first_run(rank, false) >= 0)
        return end_stage(rank);
    return turn == TURN_STEP ? end_step(rank) : STATUS_OK;
}

/* ---- faults ---- */

static bool is_due(const struct echo_rank *rank, int64_t after)
{
    return after != ECHO_RANK_NEVER && rank->ended >= after && rank->run_count > 0;
}

static void commit_faults(struct echo_rank *rank)
{
    const struct echo_faults *faults = &rank->settings->faults;
    for (int r = 0; r < rank->run_count; r++)
        if (rank->runs[r].poisonous || (is_due(rank, faults->die_after) && rank->runs[r].told > 0))
            kill(getpid(), SIGKILL);
    if (rank->has_hung || !is_due(rank, faults->hang_after))
        return;
    rank->has_hung = true;
    pthread_mutex_lock(&rank->lock);
    rank->hung_until_ns = clock_after_ms(faults->hang_seconds * 1000);
    while (clock_wait(&rank->changed, &rank->lock, rank->hung_until_ns))
        ;
    pthread_mutex_unlock(&rank->lock);
}

/* ---- life ---- */

static enum status work(struct echo_rank *rank)
{
    TRY(begin_runs(rank));
    commit_faults(rank);
    if (is_due(rank, rank->settings->faults.stall_after))
        return STATUS_OK;
    TRY(end_early(rank));
    if (rank->turn == TURN_NONE)
        begin_turn(rank);
    while (rank->turn != TURN_NONE && clock_now_ns() >= rank->turn_ends_ns) {
        TRY(end_turn(rank));
        TRY(end_early(rank));
        commit_faults(rank);
        begin_turn(rank);
    }
    pthread_mutex_lock(&rank->lock);
    rank->worked_ns = clock_now_ns();
    pthread_mutex_unlock(&rank->lock);
    return STATUS_OK;
}

/* Until the turn is over, or there is something new to do. *going is false at the rank's end. */
static enum status wait_for_work(struct echo_rank *rank, bool *going)
{
    const int64_t until_ns = rank->turn != TURN_NONE ? rank->turn_ends_ns : clock_after_ms(LOOK_MS);
    pthread_mutex_lock(&rank->lock);
    if (!rank->ending && !(rank->stopping && rank->commands.count == 0))
        (void)clock_wait(&rank->changed, &rank->lock, until_ns);
    *going = !rank->ending && !(rank->stopping && rank->commands.count == 0);
    const enum status status = rank->ending && !rank->stopping
                                   ? fail(rank->end_status, "%s", rank->end_message)
                                   : STATUS_OK;
    pthread_mutex_unlock(&rank->lock);
    return status;
}

static enum status live(struct echo_rank *rank)
{
    const struct timespec load = {rank->settings->load_ms / 1000,
                                  rank->settings->load_ms % 1000 * 1000000};
    bool going = true;
    nanosleep(&load, NULL);
    TRY(say_loaded(rank));
    while (going) {
        TRY(wait_for_work(rank, &going));
        if (going)
            TRY(work(rank));
    }
    return STATUS_OK;
}

static enum status live_and_listen(struct echo_rank *rank)
{
    pthread_t listener;
    char sentence[SENTENCE_BYTES];
    rank->worked_ns = clock_now_ns(); /* a beat may come before the first turn */
    if (pthread_create(&listener, NULL, listen_to_coordinator, rank) != 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no thread to listen to the coordinator");
    const enum status status = live(rank);
    snprintf(sentence, sizeof sentence, "%s", status_message());
    end_with(rank, status);
    rpc_stream_cancel(rank->stream);
    pthread_join(listener, NULL);
    return status == STATUS_OK ? STATUS_OK : fail(status, "%s", sentence);
}

static enum status live_in_group(struct echo_rank *rank, const struct join_welcome *welcome)
{
    const int places = rank->settings->places > 0 ? rank->settings->places : welcome->runs;
    enum status status = STATUS_OK;
    TRY(command_table_init(&rank->commands, places));
    TRY_ELSE(reports_init(&rank->reports, rank->stream, places), end);
    TRY_ELSE(echo_prefixes_create(&rank->prefixes, rank->settings->prefix_panels), end);
    rank->runs = calloc((size_t)places, sizeof *rank->runs);
    rank->heartbeat_ms = welcome->heartbeat_ms;
    status = rank->runs ? live_and_listen(rank)
                        : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d runs", places);
    for (int r = 0; r < rank->run_count; r++)
        free(rank->runs[r].names);
    free(rank->runs);
    echo_prefixes_destroy(rank->prefixes);
end:
    reports_deinit(&rank->reports);
    command_table_deinit(&rank->commands);
    return status;
}

enum status echo_rank_live(const struct echo_rank_settings *settings, struct rpc_client *client)
{
    struct echo_rank rank = {
        .settings = settings,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };
    struct transport *alone; /* what join looks after; ranks are apart here */
    struct join_welcome welcome;
    TRY(transport_loopback_create_group(&alone, 1, NULL));
    enum status status = enter(&rank, client, alone, &welcome);
    if (status == STATUS_OK) {
        log_line(LOG_INFO, "joined", log_text("group", settings->group),
                 log_integer("of_rank", settings->rank));
        status = live_in_group(&rank, &welcome);
        rpc_stream_close(rank.stream);
    }
    transport_destroy(alone);
    return status;
}
