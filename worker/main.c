/* longhaul-worker: one MPI rank, or all ranks of a loopback group as threads. */
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "proto/config.h"
#include "proto/flags.h"
#include "proto/join_secret.h"
#include "proto/log.h"
#include "proto/rpc/rpc_client.h"
#include "proto/standard_streams.h"
#include "worker/engine/device/binding.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/transport/nccl_api.h"
#include "worker/engine/transport/nccl_share.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/engine/transport/transport_mpi.h"
#include "worker/exit_code.h"
#include "worker/process_memory.h"
#include "worker/rank_place.h"
#include "worker/rank_threads.h"
#include "worker/serve.h"
#include "worker/world.h"

enum { PACKED_SIDE = 256 };

struct options {
    struct config *config;
    bool describe;
    int64_t ranks;
};

static int report(enum status status)
{
    if (status == STATUS_OK)
        return 0;
    log_failure("longhaul-worker");
    return worker_exit_code(status);
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

/* Says of each GPU what it is, or why there is none. */
static void describe_gpus(void)
{
    const struct cuda_runtime *runtime;
    const struct kernels_cuda *kernels;
    const struct nccl_api *nccl;
    struct cuda_facts facts;
    int count = 0;
    bool gpus = cuda_find(&runtime, &kernels) == STATUS_OK && runtime->count(&count) == STATUS_OK;
    printf(", \"devices\": [\"cpu\"%s], \"cuda\": \"%s\", \"gpus\": [", gpus ? ", \"cuda\"" : "",
           gpus ? runtime->name : status_message());
    for (int gpu = 0; gpus && gpu < count; gpu++)
        if (runtime->open(gpu, &facts) == STATUS_OK)
            printf("%s\"%s, %s, sm_%d%d, %.1f GiB\"", gpu ? ", " : "", facts.name, facts.bus,
                   facts.major, facts.minor, (double)facts.memory_bytes / 0x1p30);
    bool exchanges = nccl_find(&nccl) == STATUS_OK;
    printf("], \"nccl\": \"%s\", \"transports\": [\"loopback\", \"mpi\"%s]",
           exchanges ? nccl->name : status_message(), exchanges ? ", \"nccl\"" : "");
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
    printf("], \"best_kernels\": \"%s\"", kernels_best()->name);
    describe_gpus();
    printf(", \"memory_available_mib\": %lld, \"packed_side\": %d, \"packed_bytes\": {",
           (long long)(process_memory_available() >> 20), PACKED_SIDE);
    for (int k = 0; kernels_at(k); k++)
        if (kernels_runs_here(kernels_at(k)))
            describe_packed(kernels_at(k), k ? ", " : "");
    printf("}}\n");
    return 0;
}

/* ---- ranks ---- */

struct rank_part {
    struct rpc_client *client;
    const struct serve_options *options;
    const struct rank_place_request *wanted;
};

/* Takes `host`. */
static enum status play_on(struct transport *host, struct rpc_client *client,
                           const struct serve_options *options,
                           const struct rank_place_request *wanted)
{
    struct rank_place place;
    struct serve_options served = *options;
    char reason[512];
    enum status status = rank_place_open(&place, host, wanted);
    if (status != STATUS_OK) {
        snprintf(reason, sizeof reason, "%s", status_message());
        served.refused = status;
        served.refusal = reason;
        status = transport_aborted(host) ? status : serve(host, client, &served);
        transport_destroy(host);
        return status;
    }
    served.streams = place.on_gpu ? &place.streams : NULL;
    status = serve(place.transport, client, &served);
    rank_place_close(&place);
    return status;
}

static enum status play_rank(struct transport *transport, void *context)
{
    const struct rank_part *part = context;
    return play_on(transport, part->client, part->options, part->wanted);
}

static enum status run_loopback(int ranks, struct rpc_client *client,
                                const struct serve_options *options,
                                const struct rank_place_request *wanted)
{
    struct transport *transports[RANK_THREADS_MAX];
    struct rank_part part = {client, options, wanted};
    TRY(transport_loopback_create_group(transports, ranks, wanted->options));
    return rank_threads_run(transports, ranks, play_rank, &part);
}

static enum status run_mpi(struct rpc_client *client, const struct serve_options *options,
                           const struct rank_place_request *wanted, const struct world *world,
                           enum log_level level)
{
    struct transport *transport;
    TRY(transport_mpi_create(&transport, wanted->options));
    log_configure(level, transport->rank);
    const enum status status = world_check(world, transport->size);
    if (status != STATUS_OK) {
        transport_abort(transport, status_message());
        transport_destroy(transport);
        return status;
    }
    return play_on(transport, client, options, wanted);
}

/* What the options ask of the device. A transport of the host cannot carry what lies on GPUs. */
static enum status read_place_request(struct rank_place_request *wanted,
                                      const struct config *config,
                                      const struct transport_options *transport_options,
                                      int64_t ranks)
{
    const char *device = config_text(config, "engine.device");
    const char *transport = config_text(config, "engine.transport");
    const bool named = strcmp(config_text(config, "engine.kernels"), "auto") != 0;
    const bool int8 = strcmp(config_text(config, "engine.cache"), "int8") == 0;
    /* Ranks that are threads take GPUs only where they are told to, or one is alone. */
    const bool host =
        strcmp(transport, "mpi") == 0 || (strcmp(transport, "loopback") == 0 && ranks > 1);
    *wanted = (struct rank_place_request){
        .cuda = strcmp(device, "cuda") == 0,
        .nccl = strcmp(transport, "nccl") == 0,
        .oversubscribe = config_switch(config, "engine.oversubscribe_gpu"),
        .options = transport_options,
    };
    if (wanted->nccl && strcmp(device, "cpu") == 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--transport nccl carries what lies on GPUs: leave out "
                    "--device cpu");
    if ((wanted->cuda || wanted->nccl) && named)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--kernels names variants of the CPU's: leave it out with --device cuda");
    if ((wanted->cuda || wanted->nccl) && int8)
        return fail(STATUS_UNIMPLEMENTED, "--cache int8 is for CPUs; GPUs keep keys and values in "
                                          "bf16: leave it out with --device cuda");
    if (wanted->cuda && strcmp(transport, "mpi") == 0)
        return fail(STATUS_INVALID_ARGUMENT, "--transport mpi cannot carry what lies on GPUs: give "
                                             "nccl, or leave it out");
    wanted->cpu = strcmp(device, "cpu") == 0 || named || int8 || (host && !wanted->cuda);
    return STATUS_OK;
}

/* The file that is named, or the one that the coordinator at this address makes. */
static enum status find_secret(char path[PATH_MAX], const struct config *config)
{
    const struct join_secret_places places = {
        .job = getenv("SLURM_JOB_ID"),
        .job_folder = getenv("SLURM_SUBMIT_DIR"),
        .runtime = getenv("XDG_RUNTIME_DIR"),
        .temporary = getenv("TMPDIR"),
    };
    const char *named = config_text(config, "control.join_secret");
    const char *coordinator = config_text(config, "worker.coordinator");
    if (!named[0])
        return join_secret_path(path, &places, atoi(strrchr(coordinator, ':') + 1));
    if ((size_t)snprintf(path, PATH_MAX, "%s", named) >= PATH_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "--join-secret: the path is too long");
    return STATUS_OK;
}

static enum status run(const struct options *options, const struct world *world)
{
    const struct config *config = options->config;
    const char *kernels = config_text(config, "engine.kernels");
    char secret[PATH_MAX];
    struct mesh mesh;
    TRY(mesh_parse(&mesh, config_text(config, "engine.mesh")));
    const struct serve_options serve_options = {
        .mesh = mesh,
        .memory_bytes = config_integer(config, "engine.memory_mib") << 20,
        .coordinator = config_text(config, "worker.coordinator"),
        .join_secret = secret,
        .join_deadline_ms =
            (int64_t)(1000 * config_real(config, "coordinator.join_deadline_seconds")),
        .model_path = config_text(config, "model.path"),
        .kernels = strcmp(kernels, "auto") == 0 ? NULL : kernels,
        .int8_cache = strcmp(config_text(config, "engine.cache"), "int8") == 0,
        .threads = (int)config_integer(config, "engine.threads"),
        .heartbeat_timeout_ms =
            (int64_t)(1000 * config_real(config, "control.heartbeat_timeout_seconds")),
        .process_ranks = world->mpi ? 1 : (int)options->ranks,
    };
    const struct transport_options transport_options = {.threads = serve_options.threads};
    enum log_level level;
    enum log_format format;
    struct rpc_client *client;
    struct rank_place_request wanted;
    TRY(find_secret(secret, config));
    TRY(read_place_request(&wanted, config, &transport_options, options->ranks));
    TRY(log_level_parse(&level, config_text(config, "log.level")));
    TRY(log_format_parse(&format, config_text(config, "log.format")));
    log_configure(level, -1);
    log_write_as(format);
    TRY(rpc_client_create(&client, config_text(config, "worker.coordinator")));
    enum status status = world->mpi
                             ? run_mpi(client, &serve_options, &wanted, world, level)
                             : run_loopback((int)options->ranks, client, &serve_options, &wanted);
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

/* FLAGS_GO_ON, or the exit code after saying why this process is no rank. */
static int find_world(struct world *world, const struct options *options)
{
    const struct world_environment environment = {
        .ompi_size = getenv("OMPI_COMM_WORLD_SIZE"),
        .ompi_rank = getenv("OMPI_COMM_WORLD_RANK"),
        .pmix_namespace = getenv("PMIX_NAMESPACE"),
        .pmix_rank = getenv("PMIX_RANK"),
        .pmi_size = getenv("PMI_SIZE"),
        .pmi_rank = getenv("PMI_RANK"),
        .slurm_tasks = getenv("SLURM_STEP_NUM_TASKS"),
        .slurm_process = getenv("SLURM_PROCID"),
    };
    const enum status status = world_find(
        world, &environment, config_text(options->config, "engine.transport"), (int)options->ranks);
    return status == STATUS_OK ? FLAGS_GO_ON : report(status);
}

static int share_device(const struct world *world)
{
    char name[64];
    snprintf(name, sizeof name, "longhaul-%d", world->rank);
    enum status status = nccl_share_device(name);
    return status == STATUS_OK ? FLAGS_GO_ON : report(status);
}

int main(int argc, char **argv)
{
    standard_streams_open();
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
         .most = RANK_THREADS_MAX},
    };
    if (config_create(&options.config) != STATUS_OK)
        return report(STATUS_RESOURCE_EXHAUSTED);
    const struct flags_command command = {
        .program = "longhaul-worker",
        .example = "mpirun --bind-to none -np 2 longhaul-worker --coordinator 127.0.0.1:7712 "
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
    if (code == FLAGS_GO_ON && cuda_find_load_eagerly() != STATUS_OK)
        code = report(STATUS_RESOURCE_EXHAUSTED);
    if (code == FLAGS_GO_ON && options.describe)
        code = describe();
    else if (code == FLAGS_GO_ON)
        code = missing_flag(options.config);
    struct world world;
    if (code == FLAGS_GO_ON)
        code = find_world(&world, &options);
    if (code == FLAGS_GO_ON && config_switch(options.config, "engine.oversubscribe_gpu"))
        code = share_device(&world);
    if (code == FLAGS_GO_ON)
        code = report(run(&options, &world));
    config_destroy(options.config);
    return standard_streams_end("longhaul-worker", code);
}
