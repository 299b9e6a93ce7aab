/* echo-worker: ranks of worker groups without a model, whose answers can be checked from the
 * prompts alone. One rank, or all ranks of a group as threads. */
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/config.h"
#include "proto/flags.h"
#include "proto/join_secret.h"
#include "proto/log.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "proto/rpc/rpc_client.h"
#include "tests/support/echo_rank.h"
#include "tests/support/tiny_model.h"
#include "worker/exit_code.h"

enum { RANKS_MAX = 64, GROUP_BYTES = 100, IDS_MAX = 1 << 20 };

struct options {
    struct config *config;
    const char *group;
    int64_t rank, size, ranks, faulty_rank, places, first_id, ids;
    bool again;
    struct echo_rank_settings settings;
};

/* One rank's thread. */
struct part {
    struct echo_rank_settings settings;
    struct rpc_client *client;
    enum status status;
    char sentence[512];
};

static void *play(void *argument)
{
    struct part *part = argument;
    part->status = echo_rank_live(&part->settings, part->client);
    if (part->status != STATUS_OK) {
        snprintf(part->sentence, sizeof part->sentence, "%s", status_message());
        log_line(LOG_INFO, "left", log_text("group", part->settings.group),
                 log_integer("of_rank", part->settings.rank), log_text("cause", part->sentence));
    }
    return NULL;
}

/* All ranks of this process, from their join to their end: the first failure. */
static enum status play_once(const struct options *options, struct rpc_client *client,
                             const char *group)
{
    struct part parts[RANKS_MAX];
    pthread_t threads[RANKS_MAX];
    static const struct echo_faults none = {ECHO_RANK_NEVER, ECHO_RANK_NEVER, 0, ECHO_RANK_NEVER,
                                            ECHO_RANK_NEVER, ECHO_RANK_NEVER, 0};
    const int count = options->ranks > 0 ? (int)options->ranks : 1;
    int started = 0;
    for (; started < count; started++) {
        struct part *part = &parts[started];
        *part = (struct part){.settings = options->settings, .client = client};
        part->settings.group = group;
        part->settings.rank = options->ranks > 0 ? started : (int)options->rank;
        part->settings.size = options->ranks > 0 ? count : (int)options->size;
        if (options->faulty_rank >= 0 && part->settings.rank != options->faulty_rank)
            part->settings.faults = none;
        if (pthread_create(&threads[started], NULL, play, part) != 0)
            break;
    }
    enum status status =
        started == count ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no thread for a rank");
    for (int r = 0; r < started; r++)
        pthread_join(threads[r], NULL);
    for (int r = 0; r < started && status == STATUS_OK; r++)
        if (parts[r].status != STATUS_OK)
            status = fail(parts[r].status, "%s", parts[r].sentence);
    return status;
}

/* With --again: as a new group, when the coordinator has ended the old one or was lost. */
static enum status play_ranks(const struct options *options, struct rpc_client *client)
{
    char group[GROUP_BYTES];
    enum status status = play_once(options, client, options->group);
    for (int life = 2; options->again && (status == STATUS_OK || status == STATUS_UNAVAILABLE);
         life++) {
        snprintf(group, sizeof group, "%.80s-%d", options->group, life);
        status = play_once(options, client, group);
    }
    return status;
}

static enum status read_digest(char digest[DIGEST_HEX_BYTES], const char *path)
{
    struct model *model = NULL;
    TRY(model_open(&model, path));
    digest_model(digest, model);
    model_close(model);
    return STATUS_OK;
}

/* The file that is named, or the one that the coordinator at this address makes. */
static enum status find_secret(char path[PATH_MAX], const struct config *config,
                               const struct join_secret_places *places)
{
    const char *named = config_text(config, "control.join_secret");
    const char *port = strrchr(config_text(config, "worker.coordinator"), ':');
    if (!named[0])
        return join_secret_path(path, places, port ? atoi(port + 1) : 0);
    if ((size_t)snprintf(path, PATH_MAX, "%s", named) >= PATH_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "--join-secret: the path is too long");
    return STATUS_OK;
}

static enum status run(struct options *options, const struct join_secret_places *places)
{
    const struct config *config = options->config;
    char digest[DIGEST_HEX_BYTES], secret[PATH_MAX];
    struct rpc_client *client;
    enum log_level level;
    enum log_format format;
    TRY(log_level_parse(&level, config_text(config, "log.level")));
    TRY(log_format_parse(&format, config_text(config, "log.format")));
    log_write_as(format);
    log_configure(level, options->ranks > 0 ? -1 : (int)options->rank);
    TRY(read_digest(digest, config_text(config, "model.path")));
    TRY(find_secret(secret, config, places));
    options->settings.model_digest = digest;
    options->settings.secret_file = secret;
    options->settings.places = (int)options->places;
    options->settings.first_id = (int32_t)options->first_id;
    options->settings.ids = (int32_t)options->ids;
    options->settings.join_deadline_ms =
        (int64_t)(1000 * config_real(config, "coordinator.join_deadline_seconds"));
    TRY(rpc_client_create(&client, config_text(config, "worker.coordinator")));
    const enum status status = play_ranks(options, client);
    rpc_client_destroy(client);
    return status;
}

#define NUMBER(row_name, member, low, high, text)                                                  \
    {                                                                                              \
        .name = row_name, .type = FLAGS_INTEGER, .target = &options->member, .value = "N",         \
        .help = text, .least = low, .most = high                                                   \
    }

static int parse(struct options *options, int argc, char **argv)
{
    const struct flags_row rows[] = {
        {.name = "group",
         .type = FLAGS_TEXT,
         .target = &options->group,
         .value = "NAME",
         .help = "the group's name"},
        NUMBER("ranks", ranks, 1, RANKS_MAX, "be all ranks of a group of N, as threads"),
        NUMBER("rank", rank, 0, 4095, "be this rank alone"),
        NUMBER("size", size, 1, 4096, "ranks of its group"),
        NUMBER("places", places, 1, 1024, "runs at a time; else as the coordinator wants"),
        NUMBER("load-ms", settings.load_ms, 0, 1e6, "until the model is loaded"),
        NUMBER("step-us", settings.step_us, 0, 1e8, "of a step, which gives each run a token"),
        NUMBER("prefill-us-per-token", settings.token_us, 0, 1e6, "of a prompt, unless cached"),
        NUMBER("stage-tokens", settings.stage_tokens, 1, 1e6, "of a prompt in one turn"),
        NUMBER("prefix-panels", settings.prefix_panels, 1, 1e9, "held at most; else all"),
        NUMBER("memory-bytes", settings.memory_bytes, 0, 1e15, "said to be free"),
        NUMBER("first-id", first_id, 0, IDS_MAX, "answers are made of --ids ids from this on"),
        NUMBER("ids", ids, 1, IDS_MAX, "see --first-id"),
        NUMBER("die-after", settings.faults.die_after, 0, 1e9,
               "after N runs, SIGKILL itself while the next one answers"),
        NUMBER("hang-after", settings.faults.hang_after, 0, 1e9,
               "after N runs, say and hear nothing for --hang-seconds"),
        NUMBER("hang-seconds", settings.faults.hang_seconds, 1, 3600, "see --hang-after"),
        NUMBER("stall-after", settings.faults.stall_after, 0, 1e9,
               "after N runs, beat and work no more"),
        NUMBER("faulty-rank", faulty_rank, 0, 4095, "which has these faults; else all"),
        NUMBER("poison-id", settings.faults.poison_id, 0, 1e9,
               "SIGKILL itself on a prompt that holds this id"),
        NUMBER("fail-id", settings.faults.fail_id, 0, 1e9,
               "a prompt that holds this id ends INTERNAL"),
        NUMBER("not-finite-runs", settings.faults.not_finite_runs, 0, 1e9,
               "the first N runs end for numbers that are not finite"),
        {.name = "again",
         .type = FLAGS_SWITCH,
         .target = &options->again,
         .help = "join as a new group when the old one has ended"},
    };
    const struct flags_command command = {
        .program = "echo-worker",
        .example = "  echo-worker --coordinator HOST:PORT --model FILE --ranks 2 --step-us 1000\n",
        .summary =
            "Ranks without a model: each token of an answer follows from the prompt's ids\n"
            "(echo_oracle.py), cached and prefilled tokens from the whole panels that other\n"
            "prompts began with.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_WORKER,
        .config = options->config,
    };
    int first_argument = 0;
    return flags_parse(&command, argc, argv, &first_argument);
}

int main(int argc, char **argv)
{
    struct options options = {
        .group = "echo",
        .size = 1,
        .faulty_rank = -1,
        .first_id = TINY_MODEL_BYTE_0 + 'a',
        .ids = 26,
        .settings = {.step_us = 1000,
                     .stage_tokens = 512,
                     .faults = {ECHO_RANK_NEVER, ECHO_RANK_NEVER, 60, ECHO_RANK_NEVER,
                                ECHO_RANK_NEVER, ECHO_RANK_NEVER, 0}},
    };
    const struct join_secret_places places = {
        .runtime = getenv("XDG_RUNTIME_DIR"),
        .temporary = getenv("TMPDIR"),
    };
    signal(SIGPIPE, SIG_IGN);
    if (config_create(&options.config) != STATUS_OK)
        return 1;
    int code = parse(&options, argc, argv);
    if (code == FLAGS_GO_ON) {
        const enum status status = run(&options, &places);
        if (status != STATUS_OK)
            log_failure("echo-worker");
        code = worker_exit_code(status);
    }
    config_destroy(options.config);
    return code;
}
