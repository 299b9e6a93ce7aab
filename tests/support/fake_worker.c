/* A worker without a model, for tests of the coordinator: joins, beats, and answers every request
 * with letters that depend on the prompt alone. Misbehaves on request.
 *
 * Rank 0 generates one token every --token-ms after --prefill-ms; other ranks are done when rank 0
 * would be. */
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/choice_message.h"
#include "proto/clock.h"
#include "proto/config.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "proto/flags.h"
#include "proto/join_secret.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "proto/rpc/rpc_client.h"
#include "tests/support/tiny_model.h"

enum {
    RANKS_MAX = 16,
    RUNS_MAX = 64,
    LIKELIEST_MAX = 20,
    TICK_MS = 5,
    BEAT_MS = 200,
    SCORES_A_MESSAGE = 100,
    EXIT_LOST = 75
};

static struct {
    const char *version, *group, *digest, *fail_with;
    int64_t rank, size, ranks, token_ms, prefill_ms, load_ms, stop_after, work_age, memory_bytes;
    int64_t nan_at, places, pool_bytes;
    bool stuck; /* ignores Cancel */
    char own_digest[DIGEST_HEX_BYTES];
    char secret[JOIN_SECRET_ROOM];
    struct config *config;
} options = {.version = LONGHAUL_VERSION,
             .group = "fake",
             .size = 1,
             .token_ms = 5,
             .prefill_ms = 20,
             .places = 1};

/* One running request. */
struct fake_run {
    uint64_t number; /* 0: none */
    bool is_score, logprobs, no_prefix_reuse;
    int likeliest;
    int64_t prompt_tokens, max_tokens, told, next_ns;
    uint32_t hash;
    /* What it has chosen and not told. */
    Longhaul__Control__V1__RunTokens tokens;
    int32_t id, likeliest_ids[LIKELIEST_MAX];
    float chosen, likeliest_logprobs[LIKELIEST_MAX];
};

/* One rank's stream and its running requests. */
struct fake {
    struct rpc_stream *stream;
    int rank;
    int64_t beat_ns, loaded_ns;
    bool loaded;
    struct fake_run runs[RUNS_MAX];
};

static enum status say(struct fake *fake, Longhaul__Control__V1__WorkerMessage__KindCase kind,
                       void *body)
{
    Longhaul__Control__V1__WorkerMessage message = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__INIT;
    message.kind_case = kind;
    message.hello = body; /* every member of the oneof is a pointer */
    return rpc_stream_write(fake->stream, &message.base);
}

static enum status say_hello(struct fake *fake)
{
    char reference[] = "reference", fast[] = "fake_fast";
    char *kernels[] = {fast, reference};
    Longhaul__Control__V1__Hello hello = LONGHAUL__CONTROL__V1__HELLO__INIT;
    hello.version = (char *)options.version;
    hello.group_id = (char *)options.group;
    hello.rank = fake->rank;
    hello.size = (int32_t)options.size;
    hello.host = (char *)"testhost";
    hello.pid = getpid();
    hello.model_digest = (char *)options.digest;
    hello.threads = 1;
    hello.memory_bytes = options.memory_bytes;
    hello.n_kernels = 2;
    hello.kernels = kernels;
    hello.transport = (char *)"loopback";
    hello.shared_memory_bus = true;
    return say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HELLO, &hello);
}

static enum status beat(struct fake *fake)
{
    if (clock_now_ns() < fake->beat_ns)
        return STATUS_OK;
    fake->beat_ns = clock_after_ms(BEAT_MS);
    Longhaul__Control__V1__Heartbeat heartbeat = LONGHAUL__CONTROL__V1__HEARTBEAT__INIT;
    for (int r = 0; r < RUNS_MAX; r++)
        heartbeat.runs += fake->runs[r].number != 0;
    heartbeat.work_age_seconds = (double)options.work_age;
    return say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HEARTBEAT, &heartbeat);
}

static enum status load(struct fake *fake)
{
    if (fake->loaded || clock_now_ns() < fake->loaded_ns)
        return STATUS_OK;
    fake->loaded = true;
    Longhaul__Control__V1__Loaded loaded = LONGHAUL__CONTROL__V1__LOADED__INIT;
    loaded.seconds = 0.25;
    loaded.weights_bytes = 1000;
    loaded.cache = LONGHAUL__CONTROL__V1__CACHE_TYPE__CACHE_TYPE_F32;
    loaded.logit_rows = 1;
    loaded.runs_max = (int32_t)options.places;
    loaded.pool_bytes = options.pool_bytes;
    return say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_LOADED, &loaded);
}

static enum status say_done(struct fake *fake, struct fake_run *run, enum status status,
                            const char *sentence)
{
    Longhaul__Control__V1__RankReport report = LONGHAUL__CONTROL__V1__RANK_REPORT__INIT;
    report.sent_bytes = 100 + fake->rank;
    Longhaul__Control__V1__RunDone done = LONGHAUL__CONTROL__V1__RUN_DONE__INIT;
    done.run = run->number;
    done.status = (int32_t)status;
    done.message = (char *)sentence;
    done.completion_tokens = run->is_score ? 0 : run->told;
    /* As if the whole panels of every prompt but its last token had been read before. */
    done.cached_tokens = run->no_prefix_reuse ? 0 : (run->prompt_tokens - 1) / 64 * 64;
    done.prefilled_tokens = run->prompt_tokens - done.cached_tokens;
    done.prefill_seconds = 0.02;
    done.report = &report;
    done.stopped = status == STATUS_OK && options.stop_after && run->told == options.stop_after;
    enum status sent = say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_DONE, &done);
    run->number = 0;
    return sent;
}

static enum status say_scores(struct fake *fake, struct fake_run *run)
{
    float logprobs[SCORES_A_MESSAGE];
    Longhaul__Control__V1__RunScores scores = LONGHAUL__CONTROL__V1__RUN_SCORES__INIT;
    scores.run = run->number;
    scores.logprobs = logprobs;
    for (int64_t first = 0; first < run->prompt_tokens - 1 && fake->rank == 0;) {
        scores.first = first;
        for (scores.n_logprobs = 0;
             scores.n_logprobs < SCORES_A_MESSAGE && first < run->prompt_tokens - 1; first++)
            logprobs[scores.n_logprobs++] =
                first == options.nan_at - 1 ? NAN : -(float)(first % 7 + 1);
        TRY(say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_SCORES, &scores));
    }
    return say_done(fake, run, STATUS_OK, "");
}

static enum status say_progress(struct fake *fake, const struct fake_run *run)
{
    Longhaul__Control__V1__RunProgress progress = LONGHAUL__CONTROL__V1__RUN_PROGRESS__INIT;
    progress.run = run->number;
    progress.tokens_done = progress.tokens_total = run->prompt_tokens;
    return say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_PROGRESS, &progress);
}

/* Chooses the run's next token. The n-th likeliest token is n, and its log-probability -n; the
 * chosen one's counts tokens. */
static void choose(struct fake_run *run)
{
    run->hash = run->hash * 1664525u + 1013904223u;
    run->id = TINY_MODEL_BYTE_0 + 'a' + (int32_t)(run->hash >> 16) % 26;
    run->chosen = -(float)run->told;
    for (int n = 0; n < run->likeliest; n++) {
        run->likeliest_ids[n] = n;
        run->likeliest_logprobs[n] = -(float)n;
    }
    run->told++;
    if (run->told == options.stop_after)
        run->id = TINY_MODEL_IM_END;
    Longhaul__Control__V1__RunTokens *tokens = &run->tokens;
    longhaul__control__v1__run_tokens__init(tokens);
    tokens->run = run->number;
    tokens->n_ids = 1;
    tokens->ids = &run->id;
    tokens->n_logprobs = run->logprobs;
    tokens->logprobs = &run->chosen;
    tokens->n_likeliest_ids = tokens->n_likeliest_logprobs = (size_t)run->likeliest;
    tokens->likeliest_ids = run->likeliest_ids;
    tokens->likeliest_logprobs = run->likeliest_logprobs;
}

static bool is_due(const struct fake_run *run)
{
    return run->number && clock_now_ns() >= run->next_ns;
}

/* What a run that is due does first; *chosen: it has a token to tell. */
static enum status begin_step(struct fake *fake, struct fake_run *run, bool *chosen)
{
    *chosen = false;
    if (options.fail_with)
        return say_done(fake, run, STATUS_RESOURCE_EXHAUSTED, options.fail_with);
    if (run->told == 0 && fake->rank == 0)
        TRY(say_progress(fake, run));
    if (run->is_score)
        return say_scores(fake, run);
    choose(run);
    run->next_ns = clock_after_ms(options.token_ms);
    *chosen = true;
    return STATUS_OK;
}

/* One step of all runs that are due. */
static enum status step(struct fake *fake)
{
    struct fake_run *stepped[RUNS_MAX];
    Longhaul__Control__V1__RunTokens *tokens[RUNS_MAX];
    Longhaul__Control__V1__StepTokens message = LONGHAUL__CONTROL__V1__STEP_TOKENS__INIT;
    message.runs = tokens;
    for (int r = 0; r < RUNS_MAX; r++) {
        bool chosen = false;
        if (is_due(&fake->runs[r]))
            TRY(begin_step(fake, &fake->runs[r], &chosen));
        if (!chosen)
            continue;
        stepped[message.n_runs] = &fake->runs[r];
        tokens[message.n_runs++] = &fake->runs[r].tokens;
    }
    if (fake->rank == 0 && message.n_runs > 0)
        TRY(say(fake, LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_TOKENS, &message));
    for (size_t i = 0; i < message.n_runs; i++)
        if (stepped[i]->told == stepped[i]->max_tokens || stepped[i]->told == options.stop_after)
            TRY(say_done(fake, stepped[i], STATUS_OK, ""));
    return STATUS_OK;
}

static struct fake_run *find(struct fake *fake, uint64_t number)
{
    for (int r = 0; r < RUNS_MAX; r++)
        if (fake->runs[r].number == number)
            return &fake->runs[r];
    return NULL;
}

static enum status begin(struct fake *fake, const Longhaul__Control__V1__Run *command)
{
    struct choice choice;
    struct fake_run *run = find(fake, 0);
    TRY(choice_message_get(&choice, command->choice));
    if (choice.group.workers != options.size)
        return fail(STATUS_INTERNAL, "the choice is for %d ranks", choice.group.workers);
    int running = 0;
    for (int r = 0; r < RUNS_MAX; r++)
        running += fake->runs[r].number != 0;
    if (running >= options.places || command->number == 0)
        return fail(STATUS_INTERNAL, "run %llu came while %d were there",
                    (unsigned long long)command->number, running);
    *run = (struct fake_run){
        .number = command->number,
        .is_score = command->kind == LONGHAUL__CONTROL__V1__RUN_KIND__RUN_KIND_SCORE,
        .prompt_tokens = (int64_t)command->n_token_ids,
        .max_tokens = command->max_tokens,
        .logprobs = command->logprobs,
        .no_prefix_reuse = command->no_prefix_reuse,
        .likeliest = command->likeliest,
        .next_ns = clock_after_ms(options.prefill_ms),
    };
    for (size_t i = 0; i < command->n_token_ids; i++)
        run->hash = run->hash * 31 + (uint32_t)command->token_ids[i];
    return STATUS_OK;
}

static enum status handle_message(struct fake *fake,
                                  const Longhaul__Control__V1__CoordinatorMessage *message)
{
    struct fake_run *run = NULL;
    switch (message->kind_case) {
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_RUN:
        return begin(fake, message->run);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_CANCEL:
        run = find(fake, message->cancel->run);
        if (options.stuck || !run)
            return STATUS_OK;
        return say_done(fake, run, STATUS_CANCELLED, message->cancel->reason);
    case LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_STOP:
        return fail(STATUS_CANCELLED, "%s", message->stop->reason);
    default:
        return STATUS_OK;
    }
}

static enum status live(struct fake *fake)
{
    TRY(say_hello(fake));
    fake->loaded_ns = clock_after_ms(options.load_ms);
    for (;;) {
        const ProtobufCMessage *message = NULL;
        enum status status = rpc_stream_read(fake->stream, &message, TICK_MS);
        if (status == STATUS_OK && !message)
            return rpc_stream_finish(fake->stream);
        if (status == STATUS_OK)
            status = handle_message(fake, (const void *)message);
        if (status != STATUS_DEADLINE_EXCEEDED)
            TRY(status);
        TRY(load(fake));
        TRY(beat(fake));
        TRY(step(fake));
    }
}

static struct rpc_client *client;

static void *run_rank(void *argument)
{
    struct fake fake = {.rank = (int)(intptr_t)argument};
    const struct rpc_stream_args args = {
        .path = "/longhaul.control.v1.WorkerControl/Join",
        .response = &longhaul__control__v1__coordinator_message__descriptor,
        .authorization = options.secret};
    enum status status = rpc_stream_open(&fake.stream, client, &args);
    if (status == STATUS_OK)
        status = live(&fake);
    fprintf(stderr, "fake worker %d: %s: %s\n", fake.rank, status_name(status), status_message());
    rpc_stream_close(fake.stream);
    return NULL;
}

#define TEXT(row_name, member)                                                                     \
    {                                                                                              \
        .name = row_name, .type = FLAGS_TEXT, .target = &options.member, .value = "TEXT",          \
        .help = "see the text above"                                                               \
    }
#define NUMBER(row_name, member)                                                                   \
    {                                                                                              \
        .name = row_name, .type = FLAGS_INTEGER, .target = &options.member, .value = "N",          \
        .help = "see the text above", .most = 1000000000                                           \
    }

static int parse(int argc, char **argv)
{
    const struct flags_row rows[] = {
        TEXT("version-said", version),
        TEXT("group", group),
        TEXT("digest", digest),
        TEXT("fail-with", fail_with),
        NUMBER("rank", rank),
        NUMBER("size", size),
        NUMBER("ranks", ranks),
        NUMBER("token-ms", token_ms),
        NUMBER("prefill-ms", prefill_ms),
        NUMBER("load-ms", load_ms),
        NUMBER("stop-after", stop_after),
        NUMBER("work-age", work_age),
        NUMBER("memory-bytes", memory_bytes),
        NUMBER("nan-at", nan_at),
        NUMBER("pool-bytes", pool_bytes),
        {.name = "places",
         .type = FLAGS_INTEGER,
         .target = &options.places,
         .value = "N",
         .help = "as above",
         .least = 1,
         .most = RUNS_MAX},
        {.name = "stuck", .type = FLAGS_SWITCH, .target = &options.stuck, .help = "as above"},
    };
    const struct flags_command command = {
        .program = "fake-worker",
        .example = "  fake-worker --coordinator HOST:PORT\n",
        .summary = "Stands in for a worker. --version-said, --digest: "
                   "what Hello claims. --ranks: be all\nranks at once. "
                   "--load-ms, --prefill-ms, --token-ms: how long these "
                   "take. --stop-after:\na stop id after so many tokens. "
                   "--fail-with: fail every request. --stuck: ignore\n"
                   "Cancel. --work-age: seconds claimed while busy. --nan-at: the score, from 1,\n"
                   "that is a NaN. --places: requests at a time. --pool-bytes:\nfor all their keys "
                   "and values.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_WORKER,
        .config = options.config};
    int first_argument = 0;
    return flags_parse(&command, argc, argv, &first_argument);
}

static enum status read_digest(void)
{
    struct model *model = NULL;
    TRY(model_open(&model, config_text(options.config, "model.path")));
    digest_model(options.own_digest, model);
    model_close(model);
    if (!options.digest)
        options.digest = options.own_digest;
    return STATUS_OK;
}

/* The file that is named, or the coordinator's own. */
static enum status read_secret(const char *runtime)
{
    char path[PATH_MAX];
    const struct join_secret_places places = {.runtime = runtime};
    const char *named = config_text(options.config, "control.join_secret");
    const char *port = strrchr(config_text(options.config, "worker.coordinator"), ':');
    if (named[0])
        return join_secret_read(options.secret, named);
    TRY(join_secret_path(path, &places, port ? atoi(port + 1) : 0));
    return join_secret_read(options.secret, path);
}

int main(int argc, char **argv)
{
    pthread_t threads[RANKS_MAX];
    signal(SIGPIPE, SIG_IGN);
    if (config_create(&options.config) != STATUS_OK)
        return 1;
    int code = parse(argc, argv);
    if (code != FLAGS_GO_ON)
        return code;
    if (read_digest() != STATUS_OK || read_secret(getenv("XDG_RUNTIME_DIR")) != STATUS_OK ||
        rpc_client_create(&client, config_text(options.config, "worker.coordinator")) !=
            STATUS_OK) {
        fprintf(stderr, "fake worker: %s\n", status_message());
        return 1;
    }
    if (options.ranks > RANKS_MAX)
        return 2;
    if (options.ranks)
        options.size = options.ranks;
    for (intptr_t i = 1; i < options.ranks; i++)
        if (pthread_create(&threads[i], NULL, run_rank, (void *)i) != 0)
            return 1;
    run_rank((void *)(intptr_t)options.rank);
    for (int i = 1; i < options.ranks; i++)
        pthread_join(threads[i], NULL);
    rpc_client_destroy(client);
    config_destroy(options.config);
    return EXIT_LOST;
}
