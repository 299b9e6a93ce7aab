/* Owns the coordinator process and everything below it. Promises that no process is left behind:
 * orphans of the coordinator become children of this process, which ends them. */
#include "coordinator/cli/private_coordinator.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/subprocess.h"
#include "coordinator/orphans.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/clock.h"
#include "proto/printable.h"
#include "proto/rpc/rpc_client.h"

enum {
    ARGUMENTS_MAX = 64,
    ADDRESS_BYTES = 128,
    LOG_TAIL_BYTES = 8192,
    POLL_MS = 100,
    /* A graceful end: cancel, drain, workers leave MPI. */
    STOP_MS = 15000,
    KILL_MS = 5000,
    /* One answer of GetCluster. */
    ASK_MS = 5000,
};

/* The descriptor on which the child tells its address. */
enum { READY_DESCRIPTOR = 3 };

struct private_coordinator {
    pid_t process; /* 0 once it has been waited for */
    int exit_how;  /* as waitpid tells it */
    int log;       /* its standard error, a file in memory; -1: not kept */
    struct rpc_client *client;
    char address[ADDRESS_BYTES];
};

static void pause_ms(int64_t ms)
{
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&wait, NULL);
}

/* ---- the command line ---- */

struct command_line {
    char program[PATH_MAX];
    char *arguments[ARGUMENTS_MAX]; /* owned, apart from the program; ends in NULL */
    size_t count;
};

__attribute__((format(printf, 2, 3))) static enum status add_argument(struct command_line *line,
                                                                      const char *format, ...)
{
    va_list list;
    va_start(list, format);
    int bytes = vasprintf(&line->arguments[line->count], format, list);
    va_end(list);
    if (bytes < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a command line");
    line->arguments[++line->count] = NULL;
    return STATUS_OK;
}

static void free_arguments(struct command_line *line)
{
    for (size_t i = 1; i < line->count; i++)
        free(line->arguments[i]);
}

static enum status make_command_line(struct command_line *line,
                                     const struct private_coordinator_args *args)
{
    const struct config *config = args->config;
    TRY(subprocess_beside(line->program, sizeof line->program, "longhaul-coordinator"));
    line->arguments[line->count++] = line->program;
    line->count +=
        config_arguments(config, CONFIG_COORDINATOR, line->arguments + 1, ARGUMENTS_MAX - 15);
    /* After the config's own, so that these win. */
    TRY(add_argument(line, "--listen=127.0.0.1:0"));
    TRY(add_argument(line, "--worker-listen="));
    TRY(add_argument(line, "--join-secret="));
    TRY(add_argument(line, "--access-file="));
    TRY(add_argument(line, "--tls-cert="));
    TRY(add_argument(line, "--tls-key="));
    TRY(add_argument(line, "--tls-client-ca="));
    TRY(add_argument(line, "--launch"));
    if (args->store)
        TRY(add_argument(line, "--store=%s", args->store));
    else if (!args->many)
        TRY(add_argument(line, "--group-requests=1"));
    TRY(add_argument(line, "--ready-fd=%d", READY_DESCRIPTOR));
    if (config_integer(config, "engine.context") == 0 && args->context_tokens > 0)
        TRY(add_argument(line, "--context=%lld", (long long)args->context_tokens));
    if (config_origin(config, "log.level", NULL) == CONFIG_DEFAULT)
        TRY(add_argument(line, "--log-level=warn"));
    return STATUS_OK;
}

/* ---- the process ---- */

/* In the child, between fork and exec: only calls that a signal handler may make. */
static void become_coordinator(struct command_line *line, int ready, int log, pid_t parent)
{
    /* Its own group: a Ctrl-C at the terminal is ours to hand on. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    signal(SIGPIPE, SIG_DFL);
    int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(log >= 0 ? log : STDERR_FILENO, STDOUT_FILENO);
    if (log >= 0)
        dup2(log, STDERR_FILENO);
    if (ready == READY_DESCRIPTOR)
        fcntl(ready, F_SETFD, 0); /* dup2 onto itself would keep close-on-exec */
    else
        dup2(ready, READY_DESCRIPTOR);
    execv(line->program, line->arguments);
    _exit(127);
}

static enum status spawn(struct private_coordinator *coordinator, int *ready_end,
                         struct command_line *line, bool keep_log)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) != 0)
        return fail(STATUS_IO, "make a pipe: %s", strerror(errno));
    coordinator->log = keep_log ? memfd_create("coordinator-log", MFD_CLOEXEC) : -1;
    /* What the coordinator leaves behind when it dies becomes our child, and can be ended. */
    orphans_adopt();
    pid_t parent = getpid();
    pid_t child = fork();
    if (child == 0)
        become_coordinator(line, ready[1], coordinator->log, parent);
    close(ready[1]);
    if (child < 0) {
        close(ready[0]);
        return fail(STATUS_IO, "start %s: %s", line->program, strerror(errno));
    }
    setpgid(child, child);
    coordinator->process = child;
    *ready_end = ready[0];
    return STATUS_OK;
}

/* Whether it has ended. */
static bool has_ended(struct private_coordinator *coordinator)
{
    if (coordinator->process == 0)
        return true;
    if (waitpid(coordinator->process, &coordinator->exit_how, WNOHANG) != coordinator->process)
        return false;
    coordinator->process = 0;
    return true;
}

/* ---- what it said ---- */

/* How a coordinator that fails says so. */
static const char own_prefix[] = "longhaul-coordinator: ";

/* The end of the log, whole lines. */
static size_t read_log(const struct private_coordinator *coordinator, char tail[LOG_TAIL_BYTES])
{
    off_t bytes = coordinator->log >= 0 ? lseek(coordinator->log, 0, SEEK_END) : 0;
    off_t from = bytes > LOG_TAIL_BYTES - 1 ? bytes - (LOG_TAIL_BYTES - 1) : 0;
    ssize_t got = bytes > 0 ? pread(coordinator->log, tail, LOG_TAIL_BYTES - 1, from) : 0;
    size_t used = got > 0 ? (size_t)got : 0;
    while (used > 0 && tail[used - 1] == '\n')
        used--;
    tail[used] = '\0';
    return used;
}

/* The last lines of what it and its workers wrote. Its own sentence of failure, the last of all, is
 * told elsewhere. */
static void tell_tail(const struct private_coordinator *coordinator)
{
    enum { LINES = 24 };
    char tail[LOG_TAIL_BYTES];
    size_t used = read_log(coordinator, tail);
    const char *last = memrchr(tail, '\n', used);
    if (strncmp(last ? last + 1 : tail, own_prefix, sizeof own_prefix - 1) == 0)
        used = last ? (size_t)(last - tail) : 0;
    if (used == 0)
        return;
    tail[used] = '\0';
    printable_mask_text(tail, used);
    const char *from = tail + used;
    for (int lines = 0; from > tail && (lines += from[-1] == '\n') < LINES;)
        from--;
    console_say("%s%s%s", console_paint(CONSOLE_DIM), from, console_paint(CONSOLE_PLAIN));
}

static enum status status_of_exit_code(int code)
{
    static const enum status statuses[] = {
        STATUS_INVALID_ARGUMENT, STATUS_NOT_FOUND,           STATUS_UNAVAILABLE, STATUS_IO,
        STATUS_CANCELLED,        STATUS_FAILED_PRECONDITION,
    };
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (status_exit_code(statuses[i]) == code)
            return statuses[i];
    return STATUS_INTERNAL;
}

/* The sentence after "longhaul-coordinator: " in its last line that has one, else its last line. */
static enum status failure_of(struct private_coordinator *coordinator)
{
    char tail[LOG_TAIL_BYTES];
    const char *sentence = NULL;
    if (read_log(coordinator, tail) > 0) {
        const char *last = strrchr(tail, '\n');
        sentence = last ? last + 1 : tail;
        for (char *found = strstr(tail, own_prefix); found; found = strstr(found + 1, own_prefix)) {
            sentence = found + sizeof own_prefix - 1;
            found[strcspn(found, "\n")] = '\0';
        }
    }
    int how = coordinator->exit_how;
    if (WIFSIGNALED(how))
        return fail(STATUS_INTERNAL, "the coordinator was ended by signal %d (%s)%s%s",
                    WTERMSIG(how), strsignal(WTERMSIG(how)), sentence ? ": " : "",
                    sentence ? sentence : "");
    return fail(status_of_exit_code(WEXITSTATUS(how)), "%s",
                sentence ? sentence : "the coordinator ended without a word");
}

/* ---- ready ---- */

static enum status check_alive(struct private_coordinator *coordinator)
{
    if (interrupt_count() > 0)
        return fail(STATUS_CANCELLED, "interrupted");
    return has_ended(coordinator) ? failure_of(coordinator) : STATUS_OK;
}

static enum status wait_for_address(struct private_coordinator *coordinator, int ready_end,
                                    int64_t deadline_ns)
{
    size_t used = 0;
    while (!strchr(coordinator->address, '\n')) {
        struct pollfd wanted = {.fd = ready_end, .events = POLLIN};
        TRY(check_alive(coordinator));
        if (clock_now_ns() > deadline_ns)
            return fail(STATUS_UNAVAILABLE, "the coordinator did not start listening in time");
        if (poll(&wanted, 1, POLL_MS) <= 0)
            continue;
        ssize_t got = read(ready_end, coordinator->address + used, ADDRESS_BYTES - 1 - used);
        if (got > 0)
            used += (size_t)got;
        else if (got == 0)
            pause_ms(POLL_MS); /* it is about to end; check_alive says why */
        if (used == ADDRESS_BYTES - 1)
            return fail(STATUS_INTERNAL, "the coordinator's address is too long");
    }
    coordinator->address[strcspn(coordinator->address, "\n")] = '\0';
    return STATUS_OK;
}

static const char *group_state(const Longhaul__V1__GetClusterResponse *cluster, bool *ready)
{
    *ready = false;
    if (cluster->n_groups == 0)
        return "starting the workers";
    switch (cluster->groups[0]->state) {
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY:
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING:
        *ready = true;
        return "ready";
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_LOADING:
        return "loading the model";
    default:
        return "starting the workers";
    }
}

static enum status wait_for_group(struct private_coordinator *coordinator, int64_t deadline_ns)
{
    const struct rpc_stream_args ask = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    for (int64_t begin_ns = clock_now_ns(); clock_now_ns() < deadline_ns; pause_ms(POLL_MS)) {
        struct rpc_stream *stream = NULL;
        const ProtobufCMessage *reply = NULL;
        TRY(check_alive(coordinator));
        if (rpc_client_call(coordinator->client, &stream, &reply, &ask, &request.base) != STATUS_OK)
            continue; /* check_alive tells what is wrong with it, or the deadline does */
        bool ready = false;
        const char *state = group_state((const Longhaul__V1__GetClusterResponse *)reply, &ready);
        console_progress("%s, %.1f s", state, clock_seconds_since(begin_ns));
        rpc_stream_close(stream);
        if (ready)
            return STATUS_OK;
    }
    return fail(STATUS_UNAVAILABLE, "the workers were not ready in time: %s",
                "see `longhaul doctor`, or give more with --join-deadline");
}

enum status private_coordinator_start(struct private_coordinator **coordinator,
                                      const struct private_coordinator_args *args)
{
    struct command_line line = {.count = 0};
    int ready_end = -1;
    struct private_coordinator *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the coordinator's state");
    made->log = -1;
    bool keep_log = config_origin(args->config, "log.level", NULL) == CONFIG_DEFAULT;
    int64_t deadline_ns = clock_after_ms(
        (int64_t)(1000 * config_real(args->config, "coordinator.join_deadline_seconds")) + ASK_MS);
    enum status status = make_command_line(&line, args);
    if (status == STATUS_OK)
        status = spawn(made, &ready_end, &line, keep_log);
    free_arguments(&line);
    if (status == STATUS_OK)
        status = wait_for_address(made, ready_end, deadline_ns);
    if (status == STATUS_OK)
        status = rpc_client_create(&made->client, made->address);
    if (status == STATUS_OK)
        status = wait_for_group(made, deadline_ns);
    if (ready_end >= 0)
        close(ready_end);
    console_clear();
    if (status != STATUS_OK) {
        private_coordinator_stop(made, status != STATUS_CANCELLED);
        return status;
    }
    *coordinator = made;
    return STATUS_OK;
}

struct rpc_client *private_coordinator_client(const struct private_coordinator *coordinator)
{
    return coordinator->client;
}

/* ---- the end ---- */

/* Whether it ended by itself in time. A second Ctrl-C ends the wait. */
static bool wait_until_ended(struct private_coordinator *coordinator, int64_t ms)
{
    int interrupts = interrupt_count();
    for (int64_t deadline_ns = clock_after_ms(ms); clock_now_ns() < deadline_ns; pause_ms(10)) {
        if (has_ended(coordinator))
            return true;
        if (interrupt_count() > (interrupts > 0 ? interrupts : 1))
            return false;
    }
    return has_ended(coordinator);
}

/* Ends what the coordinator left behind: its orphans are our children now. */
static void end_orphans(void)
{
    for (int64_t deadline_ns = clock_after_ms(KILL_MS);
         !orphans_end() && clock_now_ns() < deadline_ns;)
        pause_ms(10);
}

void private_coordinator_drain(const struct private_coordinator *coordinator)
{
    if (coordinator && coordinator->process > 0)
        kill(coordinator->process, SIGTERM);
}

void private_coordinator_stop(struct private_coordinator *coordinator, bool failed)
{
    if (!coordinator)
        return;
    rpc_client_destroy(coordinator->client);
    if (!has_ended(coordinator)) {
        kill(coordinator->process, SIGTERM);
        if (!wait_until_ended(coordinator, STOP_MS))
            kill(-coordinator->process, SIGKILL);
        (void)wait_until_ended(coordinator, KILL_MS);
    }
    end_orphans();
    if (failed)
        tell_tail(coordinator);
    if (coordinator->log >= 0)
        close(coordinator->log);
    free(coordinator);
}
