/* longhaul-worker: one MPI rank, or all ranks of a loopback group as threads. */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "proto/config.h"
#include "proto/flags.h"
#include "proto/log.h"
#include "proto/rpc/rpc_client.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/engine/transport/transport_mpi.h"
#include "worker/process_memory.h"
#include "worker/serve.h"

enum { RANKS_MAX = 64, EXIT_LOST = 75, PACKED_SIDE = 256 };

struct options {
    struct config *config;
    bool describe;
    int64_t ranks;
};

static int report(enum status status)
{
    if (status == STATUS_OK)
        return 0;
    fprintf(stderr, "longhaul-worker: %s\n", status_message());
    return status == STATUS_UNAVAILABLE ? EXIT_LOST : status_exit_code(status);
}

/* ---- what this machine has ---- */

/* Of a square of PACKED_SIDE weights of each type, in bytes, once re-laid: what a file's weights
 * take in memory. */
static void describe_packed(const struct kernels *kernels, const char *separator)
{
    printf("%s\"%s\": {", separator, kernels->name);
    for (int d = 0; d < DTYPE_COUNT; d++)
        printf("%s\"%s\": %zu", d ? ", " : "", dtype_name((enum dtype)d),
               kernels->matmul_packed_bytes((enum dtype)d, PACKED_SIDE, PACKED_SIDE));
    printf("}");
}

static int describe(void)
{
    struct binding binding;
    char line[160] = "";
    if (binding_choose(&binding, 0, 1, 0) == STATUS_OK)
        binding_facts(&binding, line, sizeof line);
    printf("{\"schema_version\": 1, \"version\": \"%s\", \"cpu\": \"%s\", \"kernels\": [",
           LONGHAUL_VERSION, line);
    const char *separator = "";
    for (int k = 0; kernels_at(k); k++) {
        if (!kernels_runs_here(kernels_at(k)))
            continue;
        printf("%s\"%s\"", separator, kernels_at(k)->name);
        separator = ", ";
    }
    printf("], \"best_kernels\": \"%s\", \"transports\": [\"loopback\", \"mpi\"], \"devices\": "
           "[\"cpu\"], \"memory_available_mib\": %lld, \"packed_side\": %d, \"packed_bytes\": {",
           kernels_best()->name, (long long)(process_memory_available() >> 20), PACKED_SIDE);
    for (int k = 0; kernels_at(k); k++)
        if (kernels_runs_here(kernels_at(k)))
            describe_packed(kernels_at(k), k ? ", " : "");
    printf("}}\n");
    return 0;
}

/* ---- ranks ---- */

struct rank_thread {
    pthread_t thread;
    struct transport *transport;
    struct rpc_client *client;
    const struct serve_options *options;
    enum status status;
    char message[512];
};

static void *play_rank(void *argument)
{
    struct rank_thread *rank = argument;
    rank->status = serve(rank->transport, rank->client, rank->options);
    snprintf(rank->message, sizeof rank->message, "%s", status_message());
    return NULL;
}

/* The first rank that failed speaks for all: the others failed because of it. */
static enum status run_loopback(int ranks, struct rpc_client *client,
                                const struct serve_options *options)
{
    struct transport *transports[RANKS_MAX];
    struct rank_thread threads[RANKS_MAX];
    const struct transport_options transport_options = {.threads = options->threads};
    enum status status = STATUS_OK;
    TRY(transport_loopback_create_group(transports, ranks, &transport_options));
    for (int r = 0; r < ranks; r++) {
        threads[r] =
            (struct rank_thread){.transport = transports[r], .client = client, .options = options};
        if (pthread_create(&threads[r].thread, NULL, play_rank, &threads[r]) != 0)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no thread for rank %d", r);
    }
    for (int r = 0; r < ranks; r++) {
        pthread_join(threads[r].thread, NULL);
        if (threads[r].status != STATUS_OK && status == STATUS_OK)
            status = fail(threads[r].status, "%s", threads[r].message);
    }
    for (int r = 0; r < ranks; r++)
        transport_destroy(transports[r]);
    return status;
}

static enum status run_mpi(struct rpc_client *client, const struct serve_options *options,
                           enum log_level level)
{
    struct transport *transport;
    const struct transport_options transport_options = {.threads = options->threads};
    TRY(transport_mpi_create(&transport, &transport_options));
    log_configure(level, transport->rank);
    enum status status = serve(transport, client, options);
    transport_destroy(transport);
    return status;
}

static enum status run(const struct options *options, bool under_mpirun)
{
    const struct config *config = options->config;
    const char *transport = config_text(config, "engine.transport");
    const char *kernels = config_text(config, "engine.kernels");
    bool mpi = strcmp(transport, "mpi") == 0 || (strcmp(transport, "auto") == 0 && under_mpirun);
    const struct serve_options serve_options = {
        .model_path = config_text(config, "model.path"),
        .kernels = strcmp(kernels, "auto") == 0 ? NULL : kernels,
        .threads = (int)config_integer(config, "engine.threads"),
        .heartbeat_timeout_ms =
            (int64_t)(1000 * config_real(config, "control.heartbeat_timeout_seconds")),
        .process_ranks = mpi ? 1 : (int)options->ranks,
    };
    enum log_level level;
    struct rpc_client *client;
    TRY(log_level_parse(&level, config_text(config, "log.level")));
    log_configure(level, -1);
    TRY(rpc_client_create(&client, config_text(config, "worker.coordinator")));
    enum status status = mpi ? run_mpi(client, &serve_options, level)
                             : run_loopback((int)options->ranks, client, &serve_options);
    rpc_client_destroy(client);
    return status;
}

/* FLAGS_GO_ON, or the exit code after saying what is missing. */
static int missing_flag(const struct config *config)
{
    static const char *const needed[][2] = {{"model.path", "--model FILE"},
                                            {"worker.coordinator", "--coordinator HOST:PORT"}};
    for (int n = 0; n < 2; n++) {
        if (config_text(config, needed[n][0])[0])
            continue;
        fprintf(stderr, "longhaul-worker: %s is missing; see --help\n", needed[n][1]);
        return FLAGS_EXIT_USAGE;
    }
    return FLAGS_GO_ON;
}

int main(int argc, char **argv)
{
    struct options options = {.ranks = 1};
    const struct flags_row rows[] = {
        {.name = "describe",
         .type = FLAGS_SWITCH,
         .target = &options.describe,
         .help = "print what this machine has, as JSON, and exit"},
        {.name = "ranks",
         .type = FLAGS_INTEGER,
         .target = &options.ranks,
         .value = "N",
         .help = "ranks of a loopback group, as threads of this process",
         .least = 1,
         .most = RANKS_MAX},
    };
    if (config_create(&options.config) != STATUS_OK)
        return report(STATUS_RESOURCE_EXHAUSTED);
    const struct flags_command command = {
        .program = "longhaul-worker",
        .example = "mpirun --bind-to none -np 2 longhaul-worker --coordinator 127.0.0.1:7711 "
                   "--model SmolLM2-135M-Instruct.Q4_1.gguf\n",
        .summary = "One rank of a worker group: joins a coordinator, loads the model, and computes "
                   "until it is told to stop.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_WORKER,
        .config = options.config,
    };
    int first_argument;
    int code = flags_parse(&command, argc, argv, &first_argument);
    if (code == FLAGS_GO_ON && options.describe)
        code = describe();
    else if (code == FLAGS_GO_ON)
        code = missing_flag(options.config);
    if (code == FLAGS_GO_ON)
        code = report(run(&options, getenv("OMPI_COMM_WORLD_SIZE") != NULL));
    config_destroy(options.config);
    return code;
}
