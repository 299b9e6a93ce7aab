/* longhaul-coordinator: flags, signals, and the order in which things start and stop. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/access/tls_files.h"
#include "coordinator/descriptor_limit.h"
#include "coordinator/launch.h"
#include "coordinator/listen_address.h"
#include "coordinator/measured_costs.h"
#include "coordinator/own_workers.h"
#include "coordinator/server.h"
#include "coordinator/worker_speeds.h"
#include "proto/clock.h"
#include "proto/config.h"
#include "proto/flags.h"
#include "proto/join_secret.h"
#include "proto/log.h"
#include "proto/standard_streams.h"

enum {
    LOOK_MS = 50,
    LEAVE_MS = 5000, /* for workers that were told to end */
};

static const char program[] = "longhaul-coordinator";

struct options {
    struct config *config;
    const char *ready_file;
    int64_t ready_fd;
    bool exit_with_parent;
    pid_t parent; /* that started it */
    bool insecure_bind;
};

/* ---- telling that it listens ---- */

struct addresses {
    char clients[LISTEN_ADDRESS_BYTES];
    char workers[LISTEN_ADDRESS_BYTES];
    char http[LISTEN_ADDRESS_BYTES]; /* "": none */
};

static enum status write_ready_file(const char *path, const struct addresses *addresses)
{
    char part[PATH_MAX];
    if ((size_t)snprintf(part, sizeof part, "%s.part", path) >= sizeof part)
        return fail(STATUS_INVALID_ARGUMENT, "--ready-file %s: the path is too long", path);
    FILE *file = fopen(part, "we");
    if (!file)
        return fail(STATUS_IO, "write %s: %s", part, strerror(errno));
    fprintf(file, "%s\n%s\n", addresses->clients, addresses->workers);
    if (addresses->http[0])
        fprintf(file, "%s\n", addresses->http);
    if (fclose(file) != 0 || rename(part, path) != 0)
        return fail(STATUS_IO, "write %s: %s", path, strerror(errno));
    return STATUS_OK;
}

static enum status tell_ready(const struct options *options, const struct addresses *addresses,
                              const struct join_secret *secret)
{
    log_line(LOG_INFO, "listening", log_text("address", addresses->clients),
             log_text("worker_address", addresses->workers), log_text("http", addresses->http),
             log_text("join_secret", join_secret_file(secret)),
             log_text("version", LONGHAUL_VERSION));
    if (options->ready_file)
        TRY(write_ready_file(options->ready_file, addresses));
    if (options->ready_fd >= 0) {
        if (dprintf((int)options->ready_fd, "%s\n%s\n", addresses->clients, addresses->workers) < 0)
            return fail(STATUS_IO, "write --ready-fd %d: %s", (int)options->ready_fd,
                        strerror(errno));
        close((int)options->ready_fd);
    }
    return STATUS_OK;
}

/* ---- serving ---- */

/* The next signal that asks to end, 0 when none came within `ms`. */
static int next_signal(int64_t ms)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int number = sigtimedwait(&ends, NULL, &wait);
    return number > 0 ? number : 0;
}

/* Refuses what is new, waits for what runs; a second signal cuts it short. True when nothing was
 * left. */
static bool drain(struct server *server, double seconds)
{
    log_line(LOG_INFO, "draining", log_real("budget_s", seconds, 1));
    server_drain(server);
    int64_t deadline_ns = clock_after_ms((int64_t)(1000 * seconds));
    while (clock_now_ns() < deadline_ns) {
        if (server_is_idle(server))
            return true;
        if (next_signal(LOOK_MS))
            break;
    }
    return server_is_idle(server);
}

/* Nobody takes what a coordinator whose parent has ended would still make. */
static bool is_orphan(const struct options *options)
{
    return options->exit_with_parent && getppid() != options->parent;
}

static enum status serve(struct server *server, struct launch *launch,
                         const struct options *options, bool *complete)
{
    while (!next_signal(LOOK_MS) && !server_is_asked_to_drain(server))
        if (launch)
            TRY(own_workers_look(launch, server));
    const double seconds = config_real(options->config, "coordinator.drain_seconds");
    *complete = drain(server, is_orphan(options) ? 0 : seconds);
    return STATUS_OK;
}

static struct server_settings settings_of(const struct config *config)
{
    const char *kernels = config_text(config, "engine.kernels");
    return (struct server_settings){
        .listen = config_text(config, "coordinator.listen"),
        .http_listen = config_text(config, "coordinator.http"),
        .http_connections_max = descriptor_limit_connections(
            (int)config_integer(config, "coordinator.http_connections_max")),
        .access_file = config_text(config, "coordinator.access_file"),
        .model_path = config_text(config, "model.path"),
        .chat_template = config_text(config, "model.chat_template"),
        .kernels = strcmp(kernels, "auto") == 0 ? NULL : kernels,
        .plan =
            {
                .method = config_text(config, "engine.method"),
                .context_tokens = config_integer(config, "engine.context"),
                .stage_tokens = config_integer(config, "engine.stage_tokens"),
                .stages_max = config_integer(config, "coordinator.plan_stages_max"),
                .decode = config_text(config, "engine.decode"),
                .weights = config_text(config, "engine.weights"),
            },
        .queue_length = config_integer(config, "coordinator.queue_length"),
        .group_requests = (int)config_integer(config, "coordinator.group_requests"),
        .request_deadline_ms =
            (int64_t)(1000 * config_real(config, "coordinator.request_deadline_seconds")),
        .stall_ms = (int64_t)(1000 * config_real(config, "coordinator.stall_seconds")),
        .drafts = strcmp(config_text(config, "engine.draft"), "lookup") == 0,
        .connections_max = descriptor_limit_connections(
            (int)config_integer(config, "coordinator.connections_max")),
        .calls_max = (int)config_integer(config, "coordinator.calls_max"),
        .watches_max = (int)config_integer(config, "coordinator.watches_max"),
        .heartbeat_ms = (int)(1000 * config_real(config, "control.heartbeat_seconds")),
        .dead_ms = (int)(1000 * config_real(config, "control.heartbeat_timeout_seconds")),
        .otlp_file = config_text(config, "log.otlp_file"),
        .work_ms = (int)(1000 * config_real(config, "control.work_timeout_seconds")),
        .workers_expected = config_switch(config, "coordinator.launch"),
        .spill_folder = config_text(config, "coordinator.spill"),
        .spill_bytes = config_integer(config, "coordinator.spill_bytes"),
        .store_folder = config_text(config, "store.folder"),
        .accept_lost_log = config_switch(config, "store.accept_lost_log"),
        .store_cache_bytes = config_integer(config, "store.cache_bytes"),
        .batch_retention_seconds = (int64_t)config_real(config, "store.batch_retention_seconds"),
        .document_retention_seconds =
            (int64_t)config_real(config, "store.document_retention_seconds"),
    };
}

/* What a run needs beside the configuration. */
struct parts {
    char worker_listen[LISTEN_ADDRESS_BYTES];
    struct join_secret *secret;
    struct tls_files tls;
    struct measured_costs costs;
    struct own_workers own; /* empty without --launch */
};

/* Where a secret for workers on other hosts lies, which must be able to read it: in the folder of
 * the job, or in the user's own, which clusters share. */
static struct join_secret_places secret_places(char folder[PATH_MAX], char host[HOST_NAME_BYTES],
                                               bool remote)
{
    const char *home = getenv("HOME");
    struct join_secret_places places = {
        .job = getenv("SLURM_JOB_ID"),
        .job_folder = getenv("SLURM_SUBMIT_DIR"),
        .runtime = getenv("XDG_RUNTIME_DIR"),
        .temporary = getenv("TMPDIR"),
    };
    if (!remote || places.job || !home || gethostname(host, HOST_NAME_BYTES - 1) != 0 ||
        snprintf(folder, PATH_MAX, "%s/.cache", home) >= PATH_MAX)
        return places;
    if (access(folder, W_OK | X_OK) != 0)
        snprintf(folder, PATH_MAX, "%s", home);
    places.job = host;
    places.job_folder = folder;
    return places;
}

static enum status start_own(struct launch **launch, const struct config *config,
                             const struct parts *parts, const char *address)
{
    const struct own_workers_place place = {
        .coordinator = address,
        .join_secret = join_secret_file(parts->secret),
        .path = getenv("PATH"),
        .temporary = getenv("TMPDIR"),
        .job = getenv("SLURM_JOB_ID"),
        .environment = environ,
    };
    return own_workers_start(launch, &parts->own, config, &place);
}

static enum status run_with(const struct options *options, const struct parts *parts,
                            bool *complete)
{
    const struct config *config = options->config;
    descriptor_limit_raise();
    struct server_settings settings = settings_of(config);
    struct join_secret *secret = parts->secret;
    const struct rpc_tls tls = tls_files_tls(&parts->tls);
    settings.worker_listen = parts->worker_listen;
    settings.plan.costs = parts->costs.known ? &parts->costs.file : NULL;
    settings.join_secret = secret;
    settings.mesh = parts->own.mesh;
    settings.tls = tls.certificate ? &tls : NULL;
    char folder[PATH_MAX], host[HOST_NAME_BYTES] = "";
    const struct join_secret_places places =
        secret_places(folder, host, parts->own.allocation.remote);
    const char *own_address = own_workers_address(&parts->own);
    struct server *server = NULL;
    struct launch *launch = NULL;
    struct addresses addresses = {.http = ""};
    TRY(server_create(&server, &settings));
    listen_address_reach(addresses.clients, settings.listen, server_port(server), "127.0.0.1");
    listen_address_reach(addresses.workers, settings.worker_listen, server_worker_port(server),
                         own_address);
    if (settings.http_listen[0])
        listen_address_reach(addresses.http, settings.http_listen, server_http_port(server),
                             "127.0.0.1");
    enum status status = STATUS_OK;
    TRY_ELSE(join_secret_publish(secret, &places, server_worker_port(server)), stop);
    if (settings.workers_expected)
        TRY_ELSE(start_own(&launch, config, parts, addresses.workers), stop);
    TRY_ELSE(tell_ready(options, &addresses, secret), stop);
    status = serve(server, launch, options, complete);
stop:;
    bool left = false;
    server_destroy(server, &left);
    *complete = *complete && !left;
    launch_destroy(launch, LEAVE_MS);
    return status;
}

static enum status find_own(struct own_workers *own, const struct config *config)
{
    const struct allocation_environment environment = {
        .job = getenv("SLURM_JOB_ID"),
        .nodes = getenv("SLURM_JOB_NODELIST"),
        .tasks_per_node = getenv("SLURM_TASKS_PER_NODE"),
        .tasks_asked = getenv("SLURM_NTASKS_PER_NODE"),
        .cores_per_task = getenv("SLURM_CPUS_PER_TASK"),
        .cores_per_node = getenv("SLURM_JOB_CPUS_PER_NODE"),
        .cores_here = getenv("SLURM_CPUS_ON_NODE"),
        .node = getenv("SLURMD_NODENAME"),
        .step = getenv("SLURM_STEP_ID"),
        .step_tasks = getenv("SLURM_STEP_NUM_TASKS"),
    };
    return own_workers_plan(own, config, &environment);
}

static enum status listen_for_workers(struct parts *parts, const struct config *config)
{
    const char *asked = config_text(config, "coordinator.worker_listen");
    if (asked[0] && parts->own.allocation.remote && listen_address_is_local(asked))
        return fail(STATUS_INVALID_ARGUMENT,
                    "--worker-listen %s: workers on other hosts cannot reach it; leave it out, or "
                    "name an address of this host towards them",
                    asked);
    return listen_address_for_workers(parts->worker_listen, asked,
                                      config_text(config, "coordinator.listen"),
                                      own_workers_address(&parts->own));
}

/* Before a client's request would be refused for them. `workers` 0: who joins is not known yet. */
static enum status check_weights(const struct config *config, int workers)
{
    struct partition_weights weights = {.count = 0};
    return worker_speeds_read(&weights, config_text(config, "engine.weights"), workers);
}

static enum status open_parts(struct parts *parts, const struct options *options)
{
    const struct config *config = options->config;
    const char *listen = config_text(config, "coordinator.listen");
    if (!config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "no model: give one with --model FILE");
    TRY(measured_costs_find(&parts->costs, config_text(config, "plan.costs")));
    if (parts->costs.known)
        log_line(LOG_INFO, "plans by measured rates", log_text("file", parts->costs.path),
                 log_text("measured", parts->costs.file.measured),
                 log_text("fits", parts->costs.fits ? "yes" : "another processor"));
    if (config_switch(config, "coordinator.launch"))
        TRY(find_own(&parts->own, config));
    TRY(check_weights(config, parts->own.allocation.workers));
    TRY(listen_for_workers(parts, config));
    const char *authority = config_text(config, "coordinator.tls_client_ca");
    TRY(tls_files_read(&parts->tls, config_text(config, "coordinator.tls_cert"),
                       config_text(config, "coordinator.tls_key"), authority));
    if (authority[0] && !parts->tls.certificate)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--tls-client-ca asks clients for certificates, which needs --tls-cert and "
                    "--tls-key");
    TRY(listen_address_check(listen, options->insecure_bind || parts->tls.certificate));
    /* Workers on several hosts talk to each other without TLS anyway. */
    TRY(listen_address_check(parts->worker_listen,
                             options->insecure_bind || parts->own.allocation.remote));
    if (config_text(config, "coordinator.http")[0])
        TRY(listen_address_check(config_text(config, "coordinator.http"),
                                 options->insecure_bind ||
                                     (parts->tls.certificate && !authority[0])));
    return join_secret_create(&parts->secret, config_text(config, "control.join_secret"));
}

static enum status run(const struct options *options, bool *complete)
{
    struct parts parts = {.secret = NULL};
    enum status status = open_parts(&parts, options);
    if (status == STATUS_OK)
        status = run_with(options, &parts, complete);
    join_secret_destroy(parts.secret);
    tls_files_free(&parts.tls);
    own_workers_free(&parts.own);
    return status;
}

static int parse(struct options *options, int argc, char **argv)
{
    const struct flags_row rows[] = {
        {.name = "ready-file",
         .type = FLAGS_TEXT,
         .target = &options->ready_file,
         .value = "PATH",
         .help = "once it listens, write HOST:PORT here, on a second line the workers', and with "
                 "--http a third"},
        {.name = "ready-fd",
         .type = FLAGS_INTEGER,
         .target = &options->ready_fd,
         .value = "N",
         .help = "write the same to this descriptor",
         .least = 1,
         .most = 1 << 20},
        {.name = "exit-with-parent",
         .type = FLAGS_SWITCH,
         .target = &options->exit_with_parent,
         .help = "end when the process that started it ends"},
        {.name = "insecure-bind",
         .type = FLAGS_SWITCH,
         .target = &options->insecure_bind,
         .help = "listen to other hosts without TLS"},
    };
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul-coordinator --model SmolLM2-135M-Instruct.Q4_1.gguf --launch "
                   "--workers 2\n",
        .summary = "Takes requests over gRPC, plans them, and hands them to the workers that have\n"
                   "joined. Without --launch, start workers yourself; they join at --worker-listen "
                   "and\nread the same --join-secret:\n"
                   "  mpirun --bind-to none -np 2 longhaul-worker --coordinator 127.0.0.1:7712 "
                   "--model FILE\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_COORDINATOR,
        .config = options->config,
    };
    int first_argument = 0;
    return flags_parse(&command, argc, argv, &first_argument);
}

static void prepare_process(const struct options *options)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    /* Before any thread starts: all of them leave these two to main. */
    pthread_sigmask(SIG_BLOCK, &ends, NULL);
    if (options->ready_fd >= 0)
        fcntl((int)options->ready_fd, F_SETFD, FD_CLOEXEC);
    if (options->exit_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() == 1)
            raise(SIGTERM); /* it has ended already */
    }
}

int main(int argc, char **argv)
{
    standard_streams_open();
    measured_costs_configure(getenv("XDG_STATE_HOME"), getenv("HOME"));
    struct options options = {.ready_fd = -1, .parent = getppid()};
    enum status status = config_create(&options.config);
    bool complete = true;
    int code = status == STATUS_OK ? parse(&options, argc, argv) : FLAGS_GO_ON;
    if (status == STATUS_OK && code != FLAGS_GO_ON) {
        config_destroy(options.config);
        return standard_streams_end(program, code);
    }
    enum log_level level = LOG_INFO;
    enum log_format format = LOG_LOGFMT;
    if (status == STATUS_OK)
        status = log_level_parse(&level, config_text(options.config, "log.level"));
    if (status == STATUS_OK)
        status = log_format_parse(&format, config_text(options.config, "log.format"));
    if (status == STATUS_OK) {
        log_configure(level, -1);
        log_write_as(format);
        prepare_process(&options);
        status = run(&options, &complete);
    }
    if (status != STATUS_OK)
        log_failure(program);
    config_destroy(options.config);
    return status == STATUS_OK && !complete ? status_exit_code(STATUS_CANCELLED)
                                            : status_exit_code(status);
}
