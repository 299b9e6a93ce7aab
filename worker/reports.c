/* Owns the ids of a step until they are told. Promises that a run's end is the last that is said of
 * it. */
#include "worker/reports.h"

#include <stdlib.h>
#include <unistd.h>

#include "proto/boot_id.h"
#include "proto/clock.h"
#include "worker/process_memory.h"

enum { SCORES_A_MESSAGE = 16384 /* 64 KiB */ };

/* One id with its message. */
struct reports_token {
    Longhaul__Control__V1__RunTokens message;
    int32_t id;
    struct logprobs logprobs;
};

enum status reports_init(struct reports *reports, struct rpc_stream *stream, int room)
{
    *reports = (struct reports){.stream = stream, .room = room};
    reports->tokens = calloc((size_t)room, sizeof *reports->tokens);
    reports->pointers = calloc((size_t)room, sizeof(Longhaul__Control__V1__RunTokens *));
    if (reports->tokens && reports->pointers)
        return STATUS_OK;
    reports_deinit(reports);
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to tell the tokens of %d requests", room);
}

void reports_deinit(struct reports *reports)
{
    free(reports->tokens);
    free(reports->pointers);
    *reports = (struct reports){0};
}

/* Every member of the oneof is a pointer; only read. */
static Longhaul__Control__V1__WorkerMessage
message_of(Longhaul__Control__V1__WorkerMessage__KindCase kind, const void *body)
{
    Longhaul__Control__V1__WorkerMessage message = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__INIT;
    message.kind_case = kind;
    message.hello = (void *)(size_t)body;
    return message;
}

static enum status say(struct reports *reports, Longhaul__Control__V1__WorkerMessage__KindCase kind,
                       const void *body)
{
    const Longhaul__Control__V1__WorkerMessage message = message_of(kind, body);
    return rpc_stream_write(reports->stream, &message.base);
}

enum status reports_loaded(struct reports *reports, const Longhaul__Control__V1__Loaded *loaded)
{
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_LOADED, loaded);
}

enum status reports_beat(struct reports *reports, int runs, double work_age_seconds)
{
    Longhaul__Control__V1__Heartbeat heartbeat = LONGHAUL__CONTROL__V1__HEARTBEAT__INIT;
    heartbeat.runs = runs;
    heartbeat.work_age_seconds = work_age_seconds;
    const Longhaul__Control__V1__WorkerMessage message =
        message_of(LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HEARTBEAT, &heartbeat);
    return rpc_stream_post(reports->stream, &message.base);
}

enum status reports_progress(struct reports *reports, uint64_t run, int64_t done, int64_t total)
{
    Longhaul__Control__V1__RunProgress progress = LONGHAUL__CONTROL__V1__RUN_PROGRESS__INIT;
    progress.run = run;
    progress.tokens_done = done;
    progress.tokens_total = total;
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_PROGRESS, &progress);
}

enum status reports_scores(struct reports *reports, uint64_t run, int64_t first,
                           const float *logprobs, int64_t count)
{
    for (int64_t done = 0; done < count; done += SCORES_A_MESSAGE) {
        const int64_t left = count - done;
        Longhaul__Control__V1__RunScores scores = LONGHAUL__CONTROL__V1__RUN_SCORES__INIT;
        scores.run = run;
        scores.first = first + done;
        scores.n_logprobs = (size_t)(left < SCORES_A_MESSAGE ? left : SCORES_A_MESSAGE);
        scores.logprobs = (float *)(size_t)(logprobs + done); /* only read */
        TRY(say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_SCORES, &scores));
    }
    return STATUS_OK;
}

/* ---- tokens ---- */

enum status reports_token(struct reports *reports, uint64_t run, int32_t id,
                          const struct logprobs *logprobs)
{
    if (reports->count == reports->room)
        TRY(reports_flush(reports));
    struct reports_token *token = &reports->tokens[reports->count];
    Longhaul__Control__V1__RunTokens *message = &token->message;
    longhaul__control__v1__run_tokens__init(message);
    token->id = id;
    message->run = run;
    message->n_ids = 1;
    message->ids = &token->id;
    if (logprobs) {
        token->logprobs = *logprobs;
        message->n_logprobs = 1;
        message->logprobs = &token->logprobs.chosen;
        message->n_likeliest_ids = message->n_likeliest_logprobs = (size_t)logprobs->count;
        message->likeliest_ids = token->logprobs.ids;
        message->likeliest_logprobs = token->logprobs.likeliest;
    }
    reports->pointers[reports->count++] = message;
    return STATUS_OK;
}

enum status reports_flush(struct reports *reports)
{
    if (reports->count == 0)
        return STATUS_OK;
    Longhaul__Control__V1__StepTokens tokens = LONGHAUL__CONTROL__V1__STEP_TOKENS__INIT;
    tokens.n_runs = (size_t)reports->count;
    tokens.runs = reports->pointers;
    reports->count = 0;
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TOKENS, &tokens);
}

/* ---- blocks of keys ---- */

enum status reports_block(struct reports *reports, uint64_t run, const struct cache_stored *stored)
{
    Longhaul__Control__V1__RunBlock block = LONGHAUL__CONTROL__V1__RUN_BLOCK__INIT;
    block.run = run;
    block.number = stored->number;
    block.digest = stored->digest;
    block.stored.len = stored->count;
    block.stored.data = (uint8_t *)(size_t)stored->bytes; /* only read */
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_BLOCK, &block);
}

enum status reports_blocks_taken(struct reports *reports, uint64_t run, int64_t blocks)
{
    Longhaul__Control__V1__RunBlocksTaken taken = LONGHAUL__CONTROL__V1__RUN_BLOCKS_TAKEN__INIT;
    taken.run = run;
    taken.blocks = blocks;
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_BLOCKS_TAKEN, &taken);
}

/* ---- a trace ---- */

enum { EVENTS_A_MESSAGE = 4096 };

/* One message's fields. */
struct reports_events {
    int32_t kinds[EVENTS_A_MESSAGE], layers[EVENTS_A_MESSAGE], peers[EVENTS_A_MESSAGE];
    int64_t begins_ns[EVENTS_A_MESSAGE], ends_ns[EVENTS_A_MESSAGE], counts[EVENTS_A_MESSAGE];
};

static enum status say_events(struct reports *reports, struct reports_events *fields, uint64_t run,
                              const struct trace_event *events, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        fields->kinds[i] = events[i].kind;
        fields->layers[i] = events[i].layer;
        fields->peers[i] = events[i].peer;
        fields->begins_ns[i] = events[i].begin_ns;
        fields->ends_ns[i] = events[i].end_ns;
        fields->counts[i] = events[i].count;
    }
    Longhaul__Control__V1__RunTrace message = LONGHAUL__CONTROL__V1__RUN_TRACE__INIT;
    message.run = run;
    message.n_kinds = message.n_layers = message.n_peers = (size_t)count;
    message.n_begin_ns = message.n_end_ns = message.n_counts = (size_t)count;
    message.kinds = fields->kinds;
    message.layers = fields->layers;
    message.peers = fields->peers;
    message.begin_ns = fields->begins_ns;
    message.end_ns = fields->ends_ns;
    message.counts = fields->counts;
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TRACE, &message);
}

enum status reports_trace(struct reports *reports, uint64_t run, const struct trace *trace)
{
    char boot_id[BOOT_ID_BYTES];
    struct reports_events *fields = malloc(sizeof *fields);
    if (!fields)
        return STATUS_OK; /* the request's end is worth more */
    boot_id_read(boot_id);
    Longhaul__Control__V1__RunTrace head = LONGHAUL__CONTROL__V1__RUN_TRACE__INIT;
    head.run = run;
    head.boot_id = boot_id;
    head.received_ns = trace->received_ns;
    head.told_ns = clock_now_ns();
    head.dropped = trace->dropped;
    enum status status = say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TRACE, &head);
    for (int64_t done = 0; done < trace->count && status == STATUS_OK; done += EVENTS_A_MESSAGE) {
        const int64_t left = trace->count - done;
        status = say_events(reports, fields, run, trace->events + done,
                            left < EVENTS_A_MESSAGE ? left : EVENTS_A_MESSAGE);
    }
    free(fields);
    return status;
}

/* ---- ends ---- */

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

static void set_usage(Longhaul__Control__V1__RankReport *report, const struct process_usage *usage)
{
    report->cpu_seconds = usage->cpu_seconds;
    report->voluntary_switches = usage->voluntary_switches;
    report->involuntary_switches = usage->involuntary_switches;
    report->wait_seconds = usage->wait_seconds;
    report->host_cpu_seconds = usage->host_cpu_seconds;
    report->host_cores = sysconf(_SC_NPROCESSORS_ONLN);
}

enum status reports_done(struct reports *reports, uint64_t run, enum status status,
                         const struct engine_result *result)
{
    TRY(reports_flush(reports));
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
    report.base_bytes = reports->base_bytes;
    set_usage(&report, &result->usage);
    Longhaul__Control__V1__RunDone done = LONGHAUL__CONTROL__V1__RUN_DONE__INIT;
    done.run = run;
    done.status = (int32_t)status;
    done.message = (char *)(size_t)(status == STATUS_OK ? "" : status_message()); /* only read */
    done.completion_tokens = result->completion_tokens;
    done.cached_tokens = result->cached_tokens;
    done.prefilled_tokens = result->prefilled_tokens;
    done.resident_slots = result->resident_slots;
    done.drafted_tokens = result->drafted_tokens;
    done.accepted_tokens = result->accepted_tokens;
    done.prefill_seconds = result->prefill_seconds;
    done.decode_seconds = result->decode_seconds;
    done.stopped = result->stopped_by_id;
    done.not_finite = result->not_finite;
    done.report = &report;
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_DONE, &done);
}

enum status reports_failed(struct reports *reports, enum status status)
{
    Longhaul__Control__V1__Failed failed = LONGHAUL__CONTROL__V1__FAILED__INIT;
    failed.status = (int32_t)status;
    failed.message = (char *)(size_t)status_message(); /* only read */
    return say(reports, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_FAILED, &failed);
}
