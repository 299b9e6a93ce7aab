/* Owns one rank's control stream and its engine. Promises that the coordinator hears of every
 * request's end, or sees the stream break.
 *
 * Two threads: the rank's own computes; the listener reads the stream, beats, and hands over.
 *
 *   joining  --Welcome (enter_group)-->                               loading
 *   loading  --Loaded is sent (load)-->                               idle
 *   idle     --Run (take_command, wait_for_command)-->                running
 *   running  --Done is sent (run_request)-->                          idle
 *   any      --Stop (handle_message)-->                               ended
 *   joining  --no coordinator in time, or a refusal (enter_group)-->  failed
 *   any      --the stream breaks (listen_to_coordinator), a peer is
 *              lost (wait_for_command, run_request)-->                failed
 */
#include "worker/serve.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kernels/kernels.h"
#include "proto/choice_message.h"
#include "proto/clock.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "proto/log.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/engine.h"
#include "worker/join.h"
#include "worker/process_memory.h"

enum {
    HOST_BYTES = 64,
    GROUP_BYTES = 128,
    MESSAGE_BYTES = 512,
    STOP_IDS_MAX = 32,
    LOOK_MS = 100,            /* between looks at the transport while idle */
    PROGRESS_MS = 100,        /* between reports of progress */
    SCORES_A_MESSAGE = 16384, /* 64 KiB */
};

/* What a Run says, copied: the message dies with the next read. */
struct run_command {
    enum status refused; /* OK, or why this rank cannot take it, with the sentence */
    char refusal[MESSAGE_BYTES];
    char request_id[GROUP_BYTES];
    enum engine_kind kind;
    struct choice choice;
    int32_t *ids;
    int64_t count;
    int64_t max_tokens;
    struct sampling sampling;
    int32_t stop_ids[STOP_IDS_MAX];
    int stop_count;
    bool logprobs;
    int likeliest;
    int64_t deadline_ns;
};

struct serve_rank {
    struct transport *transport;
    const struct serve_options *options;
    struct rpc_stream *stream;
    char group_id[GROUP_BYTES];
    char digest[DIGEST_HEX_BYTES];
    const char *kernels;
    int threads;          /* as resolved for this host */
    int64_t memory_bytes; /* for this rank's arenas */
    int64_t base_bytes;   /* beside them */
    struct engine *engine;

    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t heartbeat_ms;
    bool ending;            /* told to stop, or the stream is gone */
    enum status end_status; /* why */
    char end_message[MESSAGE_BYTES];
    bool waiting_command; /* a command that the rank has not begun */
    struct run_command command;
    bool running;
    int64_t told_progress_ns;
};

static enum status say(struct serve_rank *rank, Longhaul__Control__V1__WorkerMessage__KindCase kind,
                       void *body)
{
    Longhaul__Control__V1__WorkerMessage message = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__INIT;
    message.kind_case = kind;
    message.hello = body; /* every member of the oneof is a pointer */
    return rpc_stream_write(rank->stream, &message.base);
}

/* ---- what all ranks agree on before they join ---- */

struct introduction {
    char group_id[GROUP_BYTES]; /* rank 0's counts */
    int32_t best_kernels;       /* index of kernels_at */
};

static int best_kernels_index(void)
{
    int index = 0;
    while (kernels_at(index) && kernels_at(index) != kernels_best())
        index++;
    return index;
}

/* The best variant that every rank runs is the slowest one's best: a faster CPU runs all the slower
 * ones'. */
static enum status introduce(struct serve_rank *rank)
{
    struct transport *transport = rank->transport;
    enum status status = STATUS_OK;
    struct introduction *all = calloc((size_t)transport->size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to join a group of %d", transport->size);
    struct introduction *mine = &all[transport->rank];
    char host[HOST_BYTES] = "";
    gethostname(host, sizeof host - 1);
    snprintf(mine->group_id, sizeof mine->group_id, "%s-%d-%lld", host, (int)getpid(),
             (long long)time(NULL));
    mine->best_kernels = best_kernels_index();
    TRY_ELSE(transport_gather_each(transport, mine, all, sizeof *all), end);
    int best = all[0].best_kernels;
    for (int r = 1; r < transport->size; r++)
        best = all[r].best_kernels < best ? all[r].best_kernels : best;
    snprintf(rank->group_id, sizeof rank->group_id, "%s", all[0].group_id);
    rank->kernels = rank->options->kernels ? rank->options->kernels : kernels_at(best)->name;
    if (rank->options->streams)
        rank->kernels = "cuda";
end:
    free(all);
    return status;
}

/* Joins the coordinator; the stream is the rank's from here on. */
static enum status enter_group(struct serve_rank *rank, struct rpc_client *client)
{
    char host[HOST_BYTES] = "";
    char *kernels[] = {(char *)rank->kernels};
    gethostname(host, sizeof host - 1);
    Longhaul__Control__V1__Hello hello = LONGHAUL__CONTROL__V1__HELLO__INIT;
    hello.version = (char *)LONGHAUL_VERSION;
    hello.group_id = rank->group_id;
    hello.rank = rank->transport->rank;
    hello.size = rank->transport->size;
    hello.host = host;
    hello.pid = getpid();
    hello.model_digest = rank->digest;
    hello.threads = rank->threads;
    hello.n_kernels = 1;
    hello.kernels = kernels;
    hello.memory_bytes = rank->memory_bytes;
    hello.transport = (char *)rank->transport->name;
    hello.shared_memory_bus = rank->options->streams ? rank->options->streams->ranks > 1
                                                     : rank->transport->local_size > 1;
    const struct join_args args = {
        .client = client,
        .transport = rank->transport,
        .secret_file = rank->options->join_secret,
        .deadline_ms = rank->options->join_deadline_ms,
        .hello = &hello,
    };
    int64_t heartbeat_ms = 0;
    TRY(join(&rank->stream, &heartbeat_ms, &args));
    if (heartbeat_ms > 0)
        rank->heartbeat_ms = heartbeat_ms;
    return STATUS_OK;
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

static enum status copy_command(struct run_command *command, const Longhaul__Control__V1__Run *run)
{
    const Longhaul__Control__V1__RunSampling *sampling = run->sampling;
    if (!run->choice || !sampling)
        return fail(STATUS_INTERNAL, "the coordinator sent a request without %s",
                    run->choice ? "sampling" : "a choice");
    if (run->n_stop_ids > STOP_IDS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "%zu stop ids; a worker takes at most %d",
                    run->n_stop_ids, STOP_IDS_MAX);
    *command = (struct run_command){
        .kind = run->kind == LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SCORE ? ENGINE_SCORE
                                                                             : ENGINE_GENERATE,
        .count = (int64_t)run->n_token_ids,
        .max_tokens = run->max_tokens,
        .sampling = {sampling->temperature, sampling->top_k, sampling->top_p, sampling->min_p,
                     sampling->repetition_penalty, sampling->seed},
        .stop_count = (int)run->n_stop_ids,
        .logprobs = run->logprobs,
        .likeliest = run->likeliest,
    };
    TRY(choice_message_get(&command->choice, run->choice));
    for (int s = 0; s < command->stop_count; s++)
        command->stop_ids[s] = run->stop_ids[s];
    if (run->deadline_ms > 0)
        command->deadline_ns = clock_after_ms(run->deadline_ms);
    command->ids = malloc((size_t)command->count * sizeof *command->ids + 1);
    if (!command->ids)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a prompt of %lld tokens",
                    (long long)command->count);
    memcpy(command->ids, run->token_ids, (size_t)command->count * sizeof *command->ids);
    return STATUS_OK;
}

static enum status take_command(struct serve_rank *rank, const Longhaul__Control__V1__Run *run)
{
    struct run_command command = {0};
    if (strlen(run->request_id) >= sizeof command.request_id)
        return fail(STATUS_INTERNAL, "the coordinator sent a request whose name is too long");
    command.refused = copy_command(&command, run);
    if (command.refused != STATUS_OK)
        snprintf(command.refusal, sizeof command.refusal, "%s", status_message());
    snprintf(command.request_id, sizeof command.request_id, "%s", run->request_id);
    pthread_mutex_lock(&rank->lock);
    bool busy = rank->waiting_command || rank->running;
    if (!busy) {
        rank->command = command;
        rank->waiting_command = true;
        pthread_cond_broadcast(&rank->changed);
    }
    pthread_mutex_unlock(&rank->lock);
    if (!busy)
        return STATUS_OK;
    free(command.ids);
    return fail(STATUS_INTERNAL, "the coordinator sent a request while another one ran");
}

static void cancel_run(struct serve_rank *rank, const Longhaul__Control__V1__Cancel *cancel)
{
    pthread_mutex_lock(&rank->lock);
    bool current = (rank->waiting_command || rank->running) &&
                   strcmp(cancel->request_id, rank->command.request_id) == 0;
    if (current && rank->engine)
        engine_cancel(rank->engine, STATUS_CANCELLED);
    pthread_mutex_unlock(&rank->lock);
}

/* A group that is told to stop does not finish its request first. */
static void cut_short(struct serve_rank *rank)
{
    pthread_mutex_lock(&rank->lock);
    if ((rank->waiting_command || rank->running) && rank->engine)
        engine_cancel(rank->engine, STATUS_CANCELLED);
    pthread_mutex_unlock(&rank->lock);
}

static enum status handle_message(struct serve_rank *rank,
                                  const Longhaul__Control__V1__CoordinatorMessage *message)
{
    switch (message->kind_case) {
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN:
        return take_command(rank, message->run);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_CANCEL:
        cancel_run(rank, message->cancel);
        return STATUS_OK;
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_STOP:
        end_with(rank, STATUS_OK, message->stop->reason);
        cut_short(rank);
        return STATUS_OK;
    default: /* a second Welcome changes nothing */
        return STATUS_OK;
    }
}

static enum status beat(struct serve_rank *rank)
{
    Longhaul__Control__V1__Heartbeat heartbeat = LONGHAUL__CONTROL__V1__HEARTBEAT__INIT;
    char request_id[GROUP_BYTES] = "";
    pthread_mutex_lock(&rank->lock);
    if (rank->running)
        snprintf(request_id, sizeof request_id, "%s", rank->command.request_id);
    heartbeat.busy = rank->running;
    if (rank->engine && rank->running)
        heartbeat.work_age_seconds =
            1e-9 * (double)(clock_now_ns() - engine_last_active_ns(rank->engine));
    pthread_mutex_unlock(&rank->lock);
    heartbeat.request_id = request_id;
    return say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HEARTBEAT, &heartbeat);
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
    if (status == STATUS_OK)
        TRY(handle_message(rank, (const void *)message));
    else if (status != STATUS_DEADLINE_EXCEEDED)
        return status;
    if (clock_now_ns() < *next_beat_ns)
        return STATUS_OK;
    *next_beat_ns = clock_after_ms(rank->heartbeat_ms);
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
    int64_t next_beat_ns = clock_after_ms(rank->heartbeat_ms);
    bool ending = false;
    while (!ending) {
        enum status status = listen_once(rank, &next_beat_ns);
        if (status != STATUS_OK)
            end_with(rank, is_refusal(status) ? status : STATUS_UNAVAILABLE, status_message());
        pthread_mutex_lock(&rank->lock);
        ending = rank->ending;
        pthread_mutex_unlock(&rank->lock);
    }
    return NULL;
}

/* ---- reports of a run ---- */

static void tell_progress(void *context, int64_t tokens_done, int64_t tokens)
{
    struct serve_rank *rank = context;
    if (tokens_done < tokens && clock_now_ns() < rank->told_progress_ns)
        return;
    rank->told_progress_ns = clock_after_ms(PROGRESS_MS);
    Longhaul__Control__V1__RunProgress progress = LONGHAUL__CONTROL__V1__RUN_PROGRESS__INIT;
    progress.request_id = rank->command.request_id;
    progress.tokens_done = tokens_done;
    progress.tokens_total = tokens;
    if (say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_PROGRESS, &progress) != STATUS_OK)
        end_with(rank, STATUS_UNAVAILABLE, status_message());
}

static void tell_token(void *context, int32_t id, const struct logprobs *logprobs)
{
    struct serve_rank *rank = context;
    Longhaul__Control__V1__RunTokens tokens = LONGHAUL__CONTROL__V1__RUN_TOKENS__INIT;
    tokens.request_id = rank->command.request_id;
    tokens.n_ids = 1;
    tokens.ids = &id;
    if (logprobs) {
        tokens.n_logprobs = 1;
        tokens.logprobs = (float *)&logprobs->chosen;
        tokens.n_likeliest_ids = tokens.n_likeliest_logprobs = (size_t)logprobs->count;
        tokens.likeliest_ids = (int32_t *)logprobs->ids;
        tokens.likeliest_logprobs = (float *)logprobs->likeliest;
    }
    if (say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TOKENS, &tokens) != STATUS_OK)
        end_with(rank, STATUS_UNAVAILABLE, status_message());
}

static void tell_scores(void *context, int64_t first, const float *logprobs, int64_t count)
{
    struct serve_rank *rank = context;
    for (int64_t done = 0; done < count; done += SCORES_A_MESSAGE) {
        int64_t left = count - done;
        Longhaul__Control__V1__RunScores scores = LONGHAUL__CONTROL__V1__RUN_SCORES__INIT;
        scores.request_id = rank->command.request_id;
        scores.first = first + done;
        scores.n_logprobs = (size_t)(left < SCORES_A_MESSAGE ? left : SCORES_A_MESSAGE);
        scores.logprobs = (float *)logprobs + done;
        if (say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_SCORES, &scores) != STATUS_OK)
            end_with(rank, STATUS_UNAVAILABLE, status_message());
    }
}

static void set_parts(Longhaul__Control__V1__RankReport *report, const double seconds[DEVICE_PARTS])
{
    report->rows_seconds = seconds[DEVICE_PART_ROWS];
    report->attend_seconds = seconds[DEVICE_PART_ATTEND];
    report->head_seconds = seconds[DEVICE_PART_HEAD];
    report->step_qkv_seconds = seconds[DEVICE_PART_STEP_QKV];
    report->step_attend_seconds = seconds[DEVICE_PART_STEP_ATTEND];
    report->step_output_seconds = seconds[DEVICE_PART_STEP_OUTPUT];
    report->step_gate_seconds = seconds[DEVICE_PART_STEP_GATE];
    report->step_down_seconds = seconds[DEVICE_PART_STEP_DOWN];
    report->step_logits_seconds = seconds[DEVICE_PART_STEP_LOGITS];
}

static enum status say_done(struct serve_rank *rank, char *request_id, enum status status,
                            const struct engine_result *result)
{
    Longhaul__Control__V1__RankReport report = LONGHAUL__CONTROL__V1__RANK_REPORT__INIT;
    report.sent_bytes = result->sent_bytes;
    report.received_bytes = result->received_bytes;
    report.predicted_sent_bytes = result->predicted_sent_bytes;
    report.predicted_received_bytes = result->predicted_received_bytes;
    report.compute_seconds = result->compute_seconds;
    report.exchange_wait_seconds = result->exchange_wait_seconds;
    report.exchange_seconds = result->exchange_seconds;
    report.memory_bytes = result->memory_bytes;
    set_parts(&report, result->part_seconds);
    report.peak_resident_bytes = process_memory_anonymous();
    report.base_bytes = rank->base_bytes;
    Longhaul__Control__V1__RunDone done = LONGHAUL__CONTROL__V1__RUN_DONE__INIT;
    done.request_id = request_id;
    done.status = (int32_t)status;
    done.message = status == STATUS_OK ? (char *)"" : (char *)status_message();
    done.completion_tokens = result->completion_tokens;
    done.prefill_seconds = result->prefill_seconds;
    done.decode_seconds = result->decode_seconds;
    done.stopped = result->stopped_by_id;
    done.not_finite = result->not_finite;
    done.report = &report;
    return say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_DONE, &done);
}

/* ---- the rank ---- */

static enum status run_request(struct serve_rank *rank)
{
    const struct run_command *command = &rank->command;
    const struct engine_observer observer = {rank, tell_progress, tell_token, tell_scores};
    const struct engine_request request = {
        .kind = command->kind,
        .choice = &command->choice,
        .ids = command->ids,
        .count = command->count,
        .max_tokens = command->max_tokens,
        .sampling = command->sampling,
        .stop_ids = command->stop_ids,
        .stop_count = command->stop_count,
        .logprobs = command->logprobs,
        .likeliest = command->likeliest,
        .deadline_ns = command->deadline_ns,
    };
    struct engine_result result = {0};
    enum status status = STATUS_OK;
    log_request(command->request_id);
    if (command->refused == STATUS_OK)
        status = engine_run(rank->engine, &request, &observer, &result);
    else
        status = engine_refuse(rank->engine, fail(command->refused, "%s", command->refusal));
    if (status != STATUS_OK)
        log_line(engine_usable(rank->engine) ? LOG_INFO : LOG_ERROR, "request ended",
                 log_text("code", status_name(status)), log_text("cause", status_message()));
    log_request(NULL);
    if (!engine_usable(rank->engine))
        return status;
    /* The next command may come while Done is on its way: this one's place must be free by then. */
    char request_id[GROUP_BYTES];
    snprintf(request_id, sizeof request_id, "%s", command->request_id);
    pthread_mutex_lock(&rank->lock);
    free(rank->command.ids);
    rank->command.ids = NULL;
    rank->running = false;
    engine_cancel(rank->engine, STATUS_OK);
    pthread_mutex_unlock(&rank->lock);
    return say_done(rank, request_id, status, &result);
}

static enum status lost(struct serve_rank *rank)
{
    if (rank->end_status == STATUS_OK)
        return STATUS_OK;
    return fail(rank->end_status, "%s", rank->end_message);
}

/* Waits for a command, an end or a lost peer. A command that came before a Stop is begun: a peer
 * that saw the one before the other waits for this rank. */
static enum status wait_for_command(struct serve_rank *rank, bool *ended)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&rank->lock);
    while (!rank->waiting_command && !rank->ending && status == STATUS_OK) {
        clock_wait(&rank->changed, &rank->lock, clock_after_ms(LOOK_MS));
        status = transport_progress(rank->transport);
    }
    bool begins = rank->waiting_command && rank->end_status == STATUS_OK;
    *ended = rank->ending && !begins;
    if (rank->ending)
        status = lost(rank); /* a peer that stopped first is no failure */
    rank->running = begins;
    rank->waiting_command = false;
    pthread_mutex_unlock(&rank->lock);
    return status;
}

/* What the process holds beside its ranks' arenas, and what its first request will touch of the
 * libraries' buffers, stacks and heap. */
static int64_t base_bytes(const struct serve_rank *rank, int64_t weights)
{
    enum { TOUCHED_LATER_BYTES = 8 << 20 };
    int64_t held = process_memory_anonymous() - weights * rank->options->process_ranks;
    return (held > 0 ? held : 0) + TOUCHED_LATER_BYTES;
}

static enum status load(struct serve_rank *rank, const struct model *model)
{
    int64_t begun_ns = clock_now_ns();
    const struct engine_options options = {
        .kernels = rank->kernels,
        .threads = rank->threads,
        .memory_bytes = rank->memory_bytes,
        .streams = rank->options->streams,
    };
    struct engine *engine;
    TRY(engine_create(&engine, model, rank->transport, &options));
    pthread_mutex_lock(&rank->lock);
    rank->engine = engine;
    pthread_mutex_unlock(&rank->lock);
    const struct memory_request *needs = engine_needs(engine);
    int64_t weights = engine_shape(engine)->weights_bytes;
    rank->base_bytes = base_bytes(rank, weights);
    Longhaul__Control__V1__Loaded loaded = LONGHAUL__CONTROL__V1__LOADED__INIT;
    loaded.seconds = clock_seconds_since(begun_ns);
    loaded.weights_bytes = weights;
    loaded.memory_bytes = weights;
    loaded.base_bytes = rank->base_bytes;
    loaded.cache = engine_cache(engine) == CHOICE_CACHE_F32
                       ? LONGHAUL__CONTROL__V1__CACHE_TYPE__CACHE_TYPE_F32
                       : LONGHAUL__CONTROL__V1__CACHE_TYPE__CACHE_TYPE_BF16;
    loaded.scratch_bytes = needs->scratch_bytes;
    loaded.logit_rows = needs->logit_rows;
    loaded.list_row_bytes = needs->list_row_bytes;
    loaded.list_panel_bytes = needs->list_panel_bytes;
    log_line(LOG_INFO, "ready", log_text("engine", engine_facts(engine)),
             log_text("exchange", rank->transport->facts),
             log_real("load_seconds", loaded.seconds, 2),
             log_real("weights_mib", (double)weights / 0x1p20, 1),
             log_real("base_mib", (double)rank->base_bytes / 0x1p20, 1));
    return say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_LOADED, &loaded);
}

static void say_failed(struct serve_rank *rank, enum status status)
{
    Longhaul__Control__V1__Failed failed = LONGHAUL__CONTROL__V1__FAILED__INIT;
    failed.status = (int32_t)status;
    failed.message = (char *)status_message();
    /* It may well be the stream that failed. */
    if (say(rank, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_FAILED, &failed) != STATUS_OK)
        log_line(LOG_WARN, "the coordinator could not be told",
                 log_text("cause", status_message()));
}

static enum status live(struct serve_rank *rank, struct model **model)
{
    bool ended = false;
    if (rank->options->refused != STATUS_OK)
        return fail(rank->options->refused, "%s", rank->options->refusal);
    enum status status = load(rank, *model);
    model_close(*model);
    *model = NULL;
    while (status == STATUS_OK && !ended) {
        status = wait_for_command(rank, &ended);
        if (status == STATUS_OK && !ended)
            status = run_request(rank);
    }
    return status;
}

static enum status serve_joined(struct serve_rank *rank, struct rpc_client *client,
                                struct model **model)
{
    enum status status = STATUS_OK;
    pthread_t listener;
    struct binding binding;
    TRY(binding_choose(&binding, rank->transport->local_rank, rank->transport->local_size,
                       rank->options->threads));
    rank->threads = binding.threads;
    digest_model(rank->digest, *model);
    TRY(introduce(rank));
    TRY(enter_group(rank, client));
    if (pthread_create(&listener, NULL, listen_to_coordinator, rank) != 0) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no thread to listen to the coordinator");
        goto close;
    }
    status = live(rank, model);
    if (status != STATUS_OK)
        say_failed(rank, status);
    char reason[MESSAGE_BYTES];
    snprintf(reason, sizeof reason, "%s", status_message());
    end_with(rank, status, reason);
    rpc_stream_cancel(rank->stream);
    pthread_join(listener, NULL);
    if (status != STATUS_OK)
        status = fail(status, "%s", reason);
close:
    rpc_stream_close(rank->stream);
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
        .heartbeat_ms = 1000,
        .memory_bytes = process_memory_available() / transport->local_size,
    };
    struct model *model = NULL;
    if (options->streams)
        rank.memory_bytes = options->streams->facts.free_bytes / options->streams->ranks;
    transport_set_silence(transport, options->heartbeat_timeout_ms * 1000000);
    enum status status = model_open(&model, options->model_path);
    if (status == STATUS_OK)
        status = serve_joined(&rank, client, &model);
    if (status != STATUS_OK)
        transport_abort(transport, status_message());
    else
        engine_destroy(rank.engine);
    free(rank.command.ids);
    model_close(model);
    return status;
}
