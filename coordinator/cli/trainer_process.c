/* Owns one process group: longhaul-trainer, or mpirun and its ranks. Promises that nothing of it is
 * left when the call returns. */
#include "coordinator/cli/trainer_process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/subprocess.h"
#include "coordinator/launch_command.h"
#include "coordinator/mpi_files.h"
#include "coordinator/orphans.h"
#include "proto/clock.h"

extern char **environ;

enum {
    ARGUMENTS = 6,
    ARGUMENT_BYTES = PATH_MAX + 16,
    LOOK_MS = 20,
    CLEAR_MS = 5000, /* for what mpirun leaves to be gone */
    LOST_CODE = 75,  /* of a trainer that has lost a rank: another start may help */
};

static const char *search_path, *temporary_folder;

void trainer_process_configure(const char *path, const char *temporary)
{
    search_path = path;
    temporary_folder = temporary;
}

static void pause_briefly(void)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    nanosleep(&pause, NULL);
}

/* ---- the command line ---- */

struct words {
    char program[PATH_MAX];
    char texts[ARGUMENTS][ARGUMENT_BYTES];
    const char *arguments[ARGUMENTS];
    size_t count;
};

static void add_word(struct words *words, const char *option, const char *value)
{
    char *text = words->texts[words->count];
    snprintf(text, ARGUMENT_BYTES, "%s%s", option, value);
    words->arguments[words->count++] = text;
}

static enum status find_words(struct words *words, const struct trainer_process_args *args)
{
    char steps[32];
    words->count = 0;
    TRY(subprocess_beside(words->program, sizeof words->program, "longhaul-trainer"));
    add_word(words, "--config=", args->config_path);
    add_word(words, "--stage=", args->stage);
    add_word(words, "--log-level=", "warn");
    if (args->steps > 0) {
        snprintf(steps, sizeof steps, "%lld", (long long)args->steps);
        add_word(words, "--steps=", steps);
    }
    if (args->json)
        add_word(words, "--json", "");
    if (args->analyze)
        add_word(words, "--analyze", "");
    return STATUS_OK;
}

static enum status make_command(struct launch_command *command, struct mpi_files **files,
                                const struct trainer_process_args *args)
{
    const struct train_config_mesh *mesh = &args->config->mesh;
    const int ranks = (int)(mesh->data * mesh->sequence * mesh->tensor);
    const struct allocation here = {
        .workers = ranks, .here = ranks, .threads = (int)args->config->training.threads};
    struct words words;
    TRY(find_words(&words, args));
    const struct launch_settings settings = {
        .worker = words.program,
        .arguments = words.arguments,
        .argument_count = words.count,
        .allocation = &here,
        .mpi = args->mpi,
        .transport = "mpi",
        .launcher = "mpirun",
        .path = search_path,
        .temporary = temporary_folder,
        .environment = environ,
    };
    enum launch_kind kind;
    char program[PATH_MAX];
    TRY(launch_command_choose(&kind, program, &settings));
    if (kind == LAUNCH_MPIRUN)
        TRY(mpi_files_create(files, temporary_folder));
    return launch_command_make(command, kind, program, &settings,
                               *files ? mpi_files_folder(*files) : NULL);
}

/* ---- the process ---- */

/* Asks for a checkpoint and an end. mpirun hands SIGUSR1 on and waits for its ranks; told by
 * SIGTERM it kills them after a moment, in the middle of a step. */
static int end_signal(const struct trainer_process_args *args)
{
    return args->mpi ? SIGUSR1 : SIGTERM;
}

/* In the child, between fork and exec: only calls that a signal handler may make. It is told to
 * end, with a checkpoint, when its parent is killed: the next start must be alone. */
static void become_trainer(const struct launch_command *command, pid_t parent, int death_signal)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE};
    /* Its own group: a Ctrl-C at the terminal is ours to hand on. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, death_signal);
    if (getppid() != parent)
        _exit(1);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], SIG_DFL);
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
    execve(command->arguments[0], command->arguments, command->environment);
    _exit(127);
}

static enum status spawn(pid_t *process, const struct launch_command *command, int death_signal)
{
    const pid_t parent = getpid();
    *process = fork();
    if (*process == 0)
        become_trainer(command, parent, death_signal);
    if (*process < 0)
        return fail(STATUS_IO, "start %s: %s", command->arguments[0], strerror(errno));
    setpgid(*process, *process);
    return STATUS_OK;
}

/* A run takes as long as it takes; what is waited for in a bounded time is its end once the user
 * has asked twice. */
static int wait_for_end(pid_t process, int first_signal)
{
    int how = 0, told = 0;
    while (waitpid(process, &how, WNOHANG) != process) {
        const int asked = interrupt_count();
        if (asked > told)
            kill(-process, asked == 1 ? first_signal : SIGKILL);
        told = asked;
        pause_briefly();
    }
    return how;
}

static void clear(const struct mpi_files *files)
{
    const int64_t deadline_ns = clock_after_ms(CLEAR_MS);
    while (!orphans_end() && clock_now_ns() < deadline_ns)
        pause_briefly();
    if (files)
        mpi_files_clear(files);
}

enum status trainer_process_interrupted(void)
{
    return fail(STATUS_CANCELLED, "interrupted; the same command goes on from the last checkpoint");
}

static enum status status_of(int how)
{
    static const enum status told[] = {
        STATUS_INVALID_ARGUMENT,   STATUS_NOT_FOUND, STATUS_IO,       STATUS_FAILED_PRECONDITION,
        STATUS_RESOURCE_EXHAUSTED, STATUS_CANCELLED, STATUS_DATA_LOSS};
    if (WIFEXITED(how) && WEXITSTATUS(how) == 0)
        return STATUS_OK;
    if (interrupt_count() > 0)
        return trainer_process_interrupted();
    if (WIFSIGNALED(how))
        return fail(STATUS_UNAVAILABLE, "training was ended by signal %d (%s)", WTERMSIG(how),
                    strsignal(WTERMSIG(how)));
    const int code = WEXITSTATUS(how);
    for (size_t i = 0; code != LOST_CODE && i < sizeof told / sizeof told[0]; i++)
        if (code == status_exit_code(told[i]))
            return fail(told[i], "training ended with exit code %d, as said above", code);
    return fail(code == LOST_CODE || code > 128 ? STATUS_UNAVAILABLE : STATUS_INTERNAL,
                "training ended with exit code %d, as said above", code);
}

static enum status run_once(const struct launch_command *command, const struct mpi_files *files,
                            int end)
{
    pid_t process;
    TRY(spawn(&process, command, end));
    const enum status status = status_of(wait_for_end(process, end));
    clear(files);
    return status;
}

enum status trainer_process_run(const struct trainer_process_args *args)
{
    struct launch_command command = {.count = 0};
    struct mpi_files *files = NULL;
    fflush(stdout);
    orphans_adopt();
    enum status status = make_command(&command, &files, args);
    if (status == STATUS_OK)
        status = run_once(&command, files, end_signal(args));
    for (int64_t retry = 1; status == STATUS_UNAVAILABLE && retry <= args->retries; retry++) {
        console_say("%s; goes on from the last checkpoint (%lld of %lld)", status_message(),
                    (long long)retry, (long long)args->retries);
        status = run_once(&command, files, end_signal(args));
    }
    launch_command_free(&command);
    mpi_files_destroy(files);
    return status;
}
