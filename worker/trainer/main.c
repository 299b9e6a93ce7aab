/* longhaul-trainer: one MPI rank, or all ranks as threads. */
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flags.h"
#include "proto/log.h"
#include "proto/standard_streams.h"
#include "proto/train/train_config.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/engine/transport/transport_mpi.h"
#include "worker/exit_code.h"
#include "worker/rank_threads.h"
#include "worker/trainer/trainer.h"
#include "worker/world.h"

static atomic_bool drain;

struct arguments {
    const char *config, *stage, *transport, *log_level, *log_format;
    int64_t ranks, threads;
    struct trainer_options options;
};

static int report(enum status status)
{
    if (status == STATUS_OK)
        return 0;
    log_failure("longhaul-trainer");
    return worker_exit_code(status);
}

/* ---- ranks ---- */

static enum status play_rank(struct transport *transport, void *context)
{
    return trainer_play(transport, context);
}

static enum status run_loopback(int ranks, struct trainer_options *options)
{
    struct transport *transports[RANK_THREADS_MAX];
    const struct transport_options transport_options = {.threads = options->threads};
    TRY(transport_loopback_create_group(transports, ranks, &transport_options));
    return rank_threads_run(transports, ranks, play_rank, options);
}

static enum status run_mpi(const struct trainer_options *options, const struct world *world,
                           enum log_level level)
{
    const struct transport_options transport_options = {.threads = options->threads};
    struct transport *transport;
    TRY(transport_mpi_create(&transport, &transport_options));
    log_configure(level, transport->rank);
    const enum status status = world_check(world, transport->size);
    if (status == STATUS_OK)
        return trainer_play(transport, options);
    transport_abort(transport, status_message());
    transport_destroy(transport);
    return status;
}

static enum status find_world(struct world *world, const struct arguments *arguments)
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
    return world_find(world, &environment, arguments->transport, (int)arguments->ranks);
}

/* ---- arguments ---- */

static void on_told(int number)
{
    (void)number;
    atomic_store(&drain, true);
}

static enum status listen_to_signals(void)
{
    static const int numbers[] = {SIGTERM, SIGUSR1};
    const struct sigaction action = {.sa_handler = on_told, .sa_flags = SA_RESTART};
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++)
        if (sigaction(numbers[n], &action, NULL) != 0)
            return fail(STATUS_IO, "signal %d cannot be listened to", numbers[n]);
    return STATUS_OK;
}

/* What contradicts itself on the command line, NULL: nothing. */
static const char *wrong_usage(const struct arguments *arguments)
{
    const struct trainer_options *options = &arguments->options;
    const bool scores = options->score != NULL;
    if (!arguments->config && !scores)
        return "--config FILE is missing";
    if (scores && !options->out)
        return "--score needs --out FILE";
    if (scores && !arguments->config && !options->model)
        return "--score needs --model FILE or --config FILE";
    if (scores && options->analyze)
        return "--score and --analyze exclude each other";
    if (!scores && (options->out || options->model || options->method))
        return "--out, --model and --method belong to --score";
    if (strcmp(arguments->transport, "auto") != 0 && strcmp(arguments->transport, "mpi") != 0 &&
        strcmp(arguments->transport, "loopback") != 0)
        return "--transport is auto, mpi or loopback";
    return NULL;
}

static enum status run(struct arguments *arguments, struct train_config *config)
{
    struct trainer_options *options = &arguments->options;
    enum log_level level;
    enum log_format format;
    struct world world;
    TRY(log_level_parse(&level, arguments->log_level));
    TRY(log_format_parse(&format, arguments->log_format));
    log_configure(level, -1);
    log_write_as(format);
    TRY(train_stage_named(&options->stage, arguments->stage));
    if (arguments->config) {
        TRY(train_config_read(config, arguments->config));
        options->config = config;
    }
    options->threads = (int)arguments->threads;
    options->drain = &drain;
    TRY(listen_to_signals());
    TRY(find_world(&world, arguments));
    return world.mpi ? run_mpi(options, &world, level)
                     : run_loopback((int)arguments->ranks, options);
}

/* ---- main ---- */

static int parse(struct arguments *arguments, int argc, char **argv)
{
    struct trainer_options *options = &arguments->options;
    const struct flags_row rows[] = {
        {"config", 0, FLAGS_TEXT, &arguments->config, "FILE", "the run, as YAML", 0, 0, NULL},
        {"stage", 0, FLAGS_TEXT, &arguments->stage, "STAGE",
         "which part of the run: extend (the default) or replay", 0, 0, NULL},
        {"steps", 0, FLAGS_INTEGER, &options->last_step, "N",
         "end behind step N; the learning rate goes by the configuration's steps", 1, 1e12, NULL},
        {"json", 0, FLAGS_SWITCH, &options->json, NULL, "a JSON line a step on standard output", 0,
         0, NULL},
        {"analyze", 0, FLAGS_SWITCH, &options->analyze, NULL,
         "score the tokens of the analysis by model.path and model.tuned, instead of training", 0,
         0, NULL},
        {"score", 0, FLAGS_TEXT, &options->score, "SAMPLES",
         "log-probabilities of the samples' counted tokens, instead of training", 0, 0, NULL},
        {"out", 0, FLAGS_TEXT, &options->out, "FILE", "of --score: JSON lines, one a sample", 0, 0,
         NULL},
        {"model", 0, FLAGS_TEXT, &options->model, "FILE",
         "of --score: the model; the configuration's model.path where it is left out", 0, 0, NULL},
        {"method", 0, FLAGS_TEXT, &options->method, "METHOD",
         "of --score: the method; the configuration's, or rope", 0, 0, NULL},
        {"ranks", 0, FLAGS_INTEGER, &arguments->ranks, "N",
         "ranks that are threads of this process", 1, RANK_THREADS_MAX, NULL},
        {"threads", 0, FLAGS_INTEGER, &arguments->threads, "N",
         "compute threads of a rank; 0: the configuration's, or its cores", 0, 512, NULL},
        {"kernels", 0, FLAGS_TEXT, &options->kernels, "NAME", "kernels to compute with", 0, 0,
         NULL},
        {"transport", 0, FLAGS_TEXT, &arguments->transport, "NAME",
         "auto, mpi or loopback (threads)", 0, 0, NULL},
        {"log-level", 0, FLAGS_TEXT, &arguments->log_level, "LEVEL", "error, warn, info or debug",
         0, 0, NULL},
        {"log-format", 0, FLAGS_TEXT, &arguments->log_format, "FORMAT", "logfmt or json", 0, 0,
         NULL},
    };
    const struct flags_command command = {
        .program = "longhaul-trainer",
        .example = "mpirun --bind-to none -np 2 longhaul-trainer --config train.yaml\n",
        .summary = "One rank of a training run: computes its part of each step, and keeps "
                   "checkpoints from which a run goes on.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first_argument;
    const int code = flags_parse(&command, argc, argv, &first_argument);
    const char *wrong = code == FLAGS_GO_ON ? wrong_usage(arguments) : NULL;
    if (!wrong)
        return code;
    fprintf(stderr, "longhaul-trainer: %s; see --help\n", wrong);
    return FLAGS_EXIT_USAGE;
}

int main(int argc, char **argv)
{
    static struct train_config config;
    standard_streams_open();
    struct arguments arguments = {
        .stage = "extend",
        .transport = "auto",
        .log_level = "info",
        .log_format = "logfmt",
        .ranks = 1,
    };
    int code = parse(&arguments, argc, argv);
    if (code == FLAGS_GO_ON)
        code = report(run(&arguments, &config));
    return standard_streams_end("longhaul-trainer", code);
}
