/* Owns one process group: mpirun with its ranks, srun, or a single worker. Promises that it is
 * ended before launch_destroy returns, and that a group which cannot start is not started for ever.
 *
 *   starting  --the group serves (launch_look)-->               up
 *   starting  --nobody joins in time (end_useless)-->           ending
 *   up        --no rank is left (end_useless)-->                ending
 *   any       --the process ends (has_ended)-->               clearing
 *   clearing  --nothing is left, was once up (plan_restart)--> waiting
 *   clearing  --nothing is left, was never up (never_up)-->    failed
 *   waiting   --the time is over (restart)-->                  starting
 *
 * A group that is of no use is first given time to end by itself: mpirun crashes on a signal that
 * comes while it ends its job.
 */
#include "coordinator/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/launch_command.h"
#include "coordinator/mpi_files.h"
#include "coordinator/orphans.h"
#include "coordinator/worker_output.h"
#include "proto/clock.h"
#include "proto/log.h"

enum {
    BACKOFF_FIRST_MS = 1000,
    BACKOFF_MOST_MS = 60000,
    LOOK_MS = 500,   /* looks are closer together, unless the process was stopped */
    APART_MS = 1000, /* between two starts */
    /* For a group to end by itself: mpirun needs about 2 s to kill a stopped rank. */
    ALONE_MS = 5000,
    ASK_MS = 3000, /* between SIGTERM and SIGKILL: mpirun needs 2 s to end its ranks */
    KILL_MS = 5000,
    /* For what mpirun leaves, srun or ssh, to end with its daemons on other hosts, which remove
       their files: killed earlier, it takes them along. */
    DAEMONS_MS = 3000,
    SETTLE_MS = 1000, /* for the broken streams of ranks that have ended to be seen */
    WORDS_BYTES = 512,
};

/* Where mpirun has the lock of its files. */
enum { LOCK_DESCRIPTOR = STDERR_FILENO + 1 };

struct launch {
    struct launch_command command;
    int64_t daemons_ms; /* DAEMONS_MS where there are other hosts */
    int64_t join_deadline_ms;
    pid_t process; /* 0 while none runs */
    bool was_up;   /* it has served at least once */
    bool joined;   /* since this start; so is what follows */
    bool served;
    bool asked;                 /* it was sent SIGTERM */
    struct clock_watch useless; /* how long it has been of no use: nobody has joined, or all left */
    int64_t started_ns;
    int64_t backoff_ms, restart_ns;
    bool over; /* it has ended, as `how` says, and that has not been dealt with */
    int how;   /* as waitpid tells it */
    int64_t over_ns;
    struct worker_output *output;
    struct mpi_files *files; /* NULL: no mpirun, no files */
};

/* ---- the process ---- */

static enum status spawn(struct launch *launch)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, worker_output_descriptor(launch->output),
                                     STDERR_FILENO);
    posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO);
    if (launch->files)
        posix_spawn_file_actions_adddup2(&actions, mpi_files_lock(launch->files), LOCK_DESCRIPTOR);
    posix_spawn_file_actions_addclosefrom_np(&actions, launch->files ? LOCK_DESCRIPTOR + 1
                                                                     : STDERR_FILENO + 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    worker_output_begin(launch->output);
    launch->started_ns = clock_now_ns();
    char **arguments = launch->command.arguments;
    int error = posix_spawn(&launch->process, arguments[0], &actions, &attributes, arguments,
                            launch->command.environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        launch->process = 0;
        return fail(STATUS_IO, "start %s: %s", arguments[0], strerror(error));
    }
    launch->joined = launch->served = launch->asked = false;
    clock_watch_start(&launch->useless);
    log_line(LOG_INFO, "workers started", log_text("program", arguments[0]),
             log_integer("pid", launch->process));
    return STATUS_OK;
}

enum status launch_create(struct launch **launch, const struct launch_settings *settings)
{
    struct launch *l = calloc(1, sizeof *l);
    if (!l)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the workers' launch");
    l->join_deadline_ms = settings->join_deadline_ms;
    l->backoff_ms = BACKOFF_FIRST_MS;
    l->daemons_ms = settings->allocation->remote ? DAEMONS_MS : 0;
    enum status status = STATUS_OK;
    enum launch_kind kind;
    char program[PATH_MAX];
    orphans_adopt();
    TRY_ELSE(launch_command_choose(&kind, program, settings), destroy);
    if (kind == LAUNCH_MPIRUN)
        TRY_ELSE(mpi_files_create(&l->files, settings->temporary), destroy);
    TRY_ELSE(launch_command_make(&l->command, kind, program, settings,
                                 l->files ? mpi_files_folder(l->files) : NULL),
             destroy);
    TRY_ELSE(worker_output_create(&l->output), destroy);
    TRY_ELSE(spawn(l), destroy);
    *launch = l;
    return STATUS_OK;
destroy:
    launch_destroy(l, 0);
    return status;
}

/* ---- supervision ---- */

/* True once, when the process has ended. */
static bool has_ended(struct launch *launch)
{
    if (!launch->process || waitpid(launch->process, &launch->how, WNOHANG) != launch->process)
        return false;
    launch->process = 0;
    launch->over_ns = clock_now_ns();
    return true;
}

/* A worker's exit code tells its status. */
static enum status status_of(int how)
{
    static const enum status told[] = {
        STATUS_INVALID_ARGUMENT, STATUS_NOT_FOUND,          STATUS_IO,
        STATUS_INTERNAL,         STATUS_RESOURCE_EXHAUSTED, STATUS_FAILED_PRECONDITION,
    };
    for (size_t i = 0; i < sizeof told / sizeof told[0]; i++)
        if (WIFEXITED(how) && WEXITSTATUS(how) == status_exit_code(told[i]))
            return told[i];
    return STATUS_UNAVAILABLE;
}

/* What its ranks told the coordinator, if they did; else what they wrote last. */
static void find_cause(struct launch *launch, const char *trouble, char cause[WORDS_BYTES])
{
    if (trouble[0])
        snprintf(cause, WORDS_BYTES, "%s", trouble);
    else
        worker_output_last_words(launch->output, cause, WORDS_BYTES);
}

static enum status never_up(int how, const char *cause)
{
    char ending[64];
    if (WIFSIGNALED(how))
        snprintf(ending, sizeof ending, "signal %d", WTERMSIG(how));
    else
        snprintf(ending, sizeof ending, "exit code %d", WEXITSTATUS(how));
    return fail(status_of(how), "the workers ended before they were ready (%s)%s%s", ending,
                cause[0] ? ": " : "", cause);
}

static enum status restart(struct launch *launch)
{
    if (clock_now_ns() < launch->restart_ns)
        return STATUS_OK;
    enum status status = spawn(launch);
    if (status == STATUS_OK)
        return STATUS_OK;
    log_line(LOG_ERROR, "workers not started", log_text("cause", status_message()));
    launch->restart_ns = clock_after_ms(launch->backoff_ms);
    return STATUS_OK;
}

static void log_ended(struct launch *launch, const char *cause)
{
    char words[WORDS_BYTES];
    struct log_field fields[3];
    size_t count = 0;
    worker_output_last_words(launch->output, words, sizeof words);
    fields[count++] = WIFSIGNALED(launch->how) ? log_integer("signal", WTERMSIG(launch->how))
                                               : log_integer("exit_code", WEXITSTATUS(launch->how));
    if (cause[0])
        fields[count++] = log_text("cause", cause);
    if (words[0] && strcmp(words, cause) != 0)
        fields[count++] = log_text("last_words", words);
    log_fields(LOG_WARN, "workers ended", fields, count);
}

/* Only a group that never served waits longer each time: one that did is wanted back at once. */
static void plan_restart(struct launch *launch, const char *cause)
{
    int64_t wait_ms = launch->backoff_ms;
    launch->backoff_ms = wait_ms * 2 < BACKOFF_MOST_MS ? wait_ms * 2 : BACKOFF_MOST_MS;
    if (launch->served) {
        launch->backoff_ms = BACKOFF_FIRST_MS;
        wait_ms = APART_MS - (int64_t)(clock_seconds_since(launch->started_ns) * 1000);
        wait_ms = wait_ms > 0 ? wait_ms : 0;
    }
    launch->restart_ns = clock_after_ms(wait_ms);
    log_ended(launch, cause);
    log_line(LOG_INFO, "workers start again", log_real("in_s", (double)wait_ms / 1000, 1));
}

/* A group of which nobody is left while its process goes on, or that does not join, is ended: it
 * can do nothing more. */
static void end_useless(struct launch *launch, const struct launch_sight *sight)
{
    if (sight->joined) {
        launch->joined = true;
        clock_watch_start(&launch->useless);
        return;
    }
    int64_t useless_ms = clock_watch_look(&launch->useless, LOOK_MS);
    int64_t patience_ms = launch->joined ? ALONE_MS : launch->join_deadline_ms;
    if (useless_ms > patience_ms && !launch->asked)
        kill(-launch->process, SIGTERM);
    launch->asked = launch->asked || useless_ms > patience_ms;
    if (useless_ms > patience_ms + ASK_MS)
        kill(-launch->process, SIGKILL);
}

/* Removes what an ended group left. False while something is still there. */
static bool cleared(const struct launch *launch)
{
    const double over_ms = clock_seconds_since(launch->over_ns) * 1000;
    if (!(over_ms < (double)launch->daemons_ms ? orphans_gone() : orphans_end()))
        return false;
    if (launch->files)
        mpi_files_clear(launch->files);
    return true;
}

/* Why it ended is known once its ranks have left, too: they may have told. */
static enum status settle(struct launch *launch, const struct launch_sight *sight)
{
    char cause[WORDS_BYTES];
    double over_ms = clock_seconds_since(launch->over_ns) * 1000;
    if (sight->joined && over_ms < SETTLE_MS)
        return STATUS_OK;
    if (!cleared(launch) && over_ms < KILL_MS)
        return STATUS_OK;
    launch->over = false;
    find_cause(launch, sight->trouble, cause);
    if (!launch->was_up)
        return never_up(launch->how, cause);
    plan_restart(launch, cause);
    return STATUS_OK;
}

int64_t launch_started_ns(const struct launch *launch)
{
    return launch->started_ns;
}

enum status launch_look(struct launch *launch, const struct launch_sight *sight)
{
    launch->served = launch->served || (launch->process && sight->serving);
    launch->was_up = launch->was_up || launch->served;
    launch->over = has_ended(launch) || launch->over;
    if (launch->over)
        return settle(launch, sight);
    if (!launch->process)
        return restart(launch);
    end_useless(launch, sight);
    return STATUS_OK;
}

static void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    nanosleep(&pause, NULL);
}

static bool wait_for_end(struct launch *launch, int64_t timeout_ms)
{
    for (int64_t deadline_ns = clock_after_ms(timeout_ms); launch->process;) {
        if (has_ended(launch)) {
            launch->over = true;
            break;
        }
        if (clock_now_ns() >= deadline_ns)
            return false;
        pause_briefly();
    }
    return true;
}

/* A worker that was told to end, or that lost its coordinator. */
static bool is_orderly(int exit_code)
{
    return exit_code == 0 || exit_code == status_exit_code(STATUS_CANCELLED);
}

void launch_destroy(struct launch *launch, int64_t grace_ms)
{
    if (!launch)
        return;
    if (wait_for_end(launch, grace_ms)) {
        /* By itself, maybe before anybody has looked. */
        if (launch->over && !(WIFEXITED(launch->how) && is_orderly(WEXITSTATUS(launch->how))))
            log_ended(launch, "");
    } else {
        kill(-launch->process, SIGTERM);
        if (!wait_for_end(launch, ASK_MS)) {
            kill(-launch->process, SIGKILL);
            if (!wait_for_end(launch, KILL_MS))
                log_line(LOG_ERROR, "workers left behind", log_integer("pid", launch->process));
        }
    }
    int64_t deadline_ns = clock_after_ms(KILL_MS);
    while (!cleared(launch) && clock_now_ns() < deadline_ns)
        pause_briefly();
    mpi_files_destroy(launch->files);
    worker_output_destroy(launch->output);
    launch_command_free(&launch->command);
    free(launch);
}
