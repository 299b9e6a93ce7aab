/* Owns the words of a command. Promises that a group over several hosts is one whose loss of a host
 * or of a link is noticed by its launcher too, and whose MPI uses the network that was chosen. */
#include "coordinator/launch_command.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- words ---- */

/* Takes the word. */
static enum status add_word(struct launch_command *command, char *word)
{
    if (!word)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a command line");
    if (command->count == LAUNCH_COMMAND_MOST) {
        free(word);
        return fail(STATUS_INVALID_ARGUMENT, "too many arguments for the workers");
    }
    command->arguments[command->count++] = word;
    return STATUS_OK;
}

__attribute__((format(printf, 2, 3))) static enum status add(struct launch_command *command,
                                                             const char *format, ...)
{
    char *word = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&word, format, list) < 0)
        word = NULL;
    va_end(list);
    return add_word(command, word);
}

static enum status add_all(struct launch_command *command, const char *const *words)
{
    for (; *words; words++)
        TRY(add(command, "%s", *words));
    return STATUS_OK;
}

static enum status add_parameter(struct launch_command *command, const char *name,
                                 const char *value)
{
    TRY(add(command, "--mca"));
    TRY(add(command, "%s", name));
    return add(command, "%s", value);
}

/* ---- programs ---- */

/* The first directory of PATH that holds an executable of this name. */
static bool find_program(char found[PATH_MAX], const char *path, const char *name)
{
    for (const char *at = path ? path : ""; *at;) {
        size_t length = strcspn(at, ":");
        int used = snprintf(found, PATH_MAX, "%.*s/%s", (int)length, at, name);
        if (length > 0 && used < PATH_MAX && access(found, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

enum status launch_command_choose(enum launch_kind *kind, char *program,
                                  const struct launch_settings *settings)
{
    const bool any = strcmp(settings->launcher, "auto") == 0;
    if (!settings->mpi) {
        *kind = LAUNCH_THREADS;
        return STATUS_OK;
    }
    *kind = LAUNCH_MPIRUN;
    if ((any || strcmp(settings->launcher, "mpirun") == 0) &&
        find_program(program, settings->path, "mpirun"))
        return STATUS_OK;
    *kind = LAUNCH_SRUN;
    if (strcmp(settings->launcher, "srun") == 0 && !settings->in_job)
        return fail(STATUS_FAILED_PRECONDITION,
                    "--launcher srun starts workers in a Slurm job, and this is in none");
    if (settings->in_job && (any || strcmp(settings->launcher, "srun") == 0) &&
        find_program(program, settings->path, "srun"))
        return STATUS_OK;
    return fail(STATUS_NOT_FOUND, "no %s on PATH: install %s%s",
                strcmp(settings->launcher, "srun") == 0 ? "srun" : "mpirun",
                strcmp(settings->launcher, "srun") == 0 ? "Slurm's client (Debian: slurm-client)"
                                                        : "Open MPI (Debian: openmpi-bin)",
                settings->allocation->remote ? "" : ", or use --transport loopback");
}

/* ---- the worker ---- */

static enum status add_worker(struct launch_command *command,
                              const struct launch_settings *settings)
{
    const struct allocation *allocation = settings->allocation;
    TRY(add(command, "%s", settings->worker));
    if (settings->coordinator)
        TRY(add(command, "--coordinator=%s", settings->coordinator));
    TRY(add(command, "--transport=%s", settings->mpi ? settings->transport : "loopback"));
    for (size_t i = 0; i < settings->argument_count; i++)
        if (strncmp(settings->arguments[i], "--transport=", 12) != 0 &&
            strncmp(settings->arguments[i], "--threads=", 10) != 0)
            TRY(add(command, "%s", settings->arguments[i]));
    TRY(add(command, "--threads=%d", allocation->threads));
    return settings->join_secret ? add(command, "--join-secret=%s", settings->join_secret)
                                 : STATUS_OK;
}

/* ---- mpirun ---- */

/* Of the hosts from `first` on those that have workers, "lh1:2,lh2:1". */
static enum status add_hosts(struct launch_command *command, const struct allocation *allocation,
                             int first, int end)
{
    const size_t room = (size_t)(end - first) * (HOST_NAME_BYTES + 12) + 1;
    char *words = calloc(1, room);
    size_t used = 0;
    for (int i = first; words && i < end; i++)
        if (allocation->dealt[i] > 0)
            used += (size_t)snprintf(words + used, room - used, "%s%s:%d", used ? "," : "",
                                     allocation->list.hosts[i].name, allocation->dealt[i]);
    TRY(add(command, "--host"));
    return add_word(command, words);
}

static enum status add_worker_without(struct launch_command *command,
                                      const struct launch_settings *settings, const char *folder)
{
    /* mpirun hands it on to ranks, which refuse it beside what they are given themselves. */
    static const char *const without[] = {"env", "-u", "OMPI_MCA_orte_local_tmpdir_base", NULL};
    TRY(add_all(command, without));
    if (folder)
        TRY(add(command, "OMPI_MCA_btl_vader_backing_directory=%s", folder));
    return add_worker(command, settings);
}

/* The ranks of this host keep their shared memory where it can be removed; others' hosts have no
 * such folder. So both have a command of their own, this host's ranks first. */
static enum status add_ranks(struct launch_command *command, const struct launch_settings *settings,
                             const char *folder)
{
    const struct allocation *allocation = settings->allocation;
    const int count = allocation->list.count, own = allocation->here > 0;
    if (own) {
        TRY(add_hosts(command, allocation, 0, 1));
        TRY(add(command, "-np"));
        TRY(add(command, "%d", allocation->here));
        TRY(add_worker_without(command, settings, folder));
        TRY(add(command, ":"));
    }
    TRY(add_hosts(command, allocation, own, count));
    TRY(add(command, "-np"));
    TRY(add(command, "%d", allocation->workers - allocation->here));
    return add_worker_without(command, settings, NULL);
}

static enum status add_mpirun(struct launch_command *command, const char *program,
                              const struct launch_settings *settings, const char *folder)
{
    static const char *const always[] = {
        /* Open MPI would pin each of two ranks to one core, and counts cores, not hardware threads,
           as slots. */
        "--bind-to",
        "none",
        "--oversubscribe",
        /* Between SIGTERM and SIGKILL for its ranks: twice that, and it has ended when we ask. */
        "--mca",
        "odls_base_sigkill_timeout",
        "1",
        NULL,
    };
    static const char *const between_hosts[] = {
        "--map-by", "slot",
        /* Its daemons' connections: a host or link that is gone ends the job after 4 s. Ranks that
           are cut off end after 5 s of silence; a daemon that says so into the dead link first
           would wait for TCP's own 15 minutes. */
        "--mca", "oob_tcp_keepalive_time", "1", "--mca", "oob_tcp_keepalive_intvl", "1", "--mca",
        "oob_tcp_keepalive_probes", "3", NULL};
    TRY(add(command, "%s", program));
    TRY(add_all(command, always));
    if (settings->allocation->remote) {
        TRY(add_all(command, between_hosts));
        TRY(add_parameter(command, "orte_local_tmpdir_base", folder));
        if (settings->pin) {
            TRY(add_parameter(command, "oob_tcp_if_include", settings->pin));
            TRY(add_parameter(command, "btl_tcp_if_include", settings->pin));
        }
        return add_ranks(command, settings, folder);
    }
    /* Its session directories and the ranks' shared memory, in a folder that we can remove. */
    TRY(add_parameter(command, "orte_tmpdir_base", folder));
    TRY(add_parameter(command, "btl_vader_backing_directory", folder));
    /* Also inside a job, whose other hosts it knows. */
    if (settings->allocation->list.count > 0)
        TRY(add_hosts(command, settings->allocation, 0, 1));
    TRY(add(command, "-np"));
    TRY(add(command, "%d", settings->allocation->workers));
    return add_worker(command, settings);
}

/* ---- srun ---- */

/* Every task with its host, "lh1,lh1,lh2", as --distribution=arbitrary takes it. */
static enum status add_task_hosts(struct launch_command *command,
                                  const struct allocation *allocation)
{
    static const char option[] = "--nodelist=";
    const size_t room = sizeof option + (size_t)allocation->workers * (HOST_NAME_BYTES + 1);
    char *words = calloc(1, room);
    size_t used = words ? (size_t)snprintf(words, room, "%s", option) : 0;
    for (int i = 0; words && i < allocation->list.count; i++)
        for (int task = 0; task < allocation->dealt[i]; task++)
            used += (size_t)snprintf(words + used, room - used, "%s%s",
                                     used > sizeof option - 1 ? "," : "",
                                     allocation->list.hosts[i].name);
    return add_word(command, words);
}

static enum status add_srun(struct launch_command *command, const char *program,
                            const struct launch_settings *settings)
{
    static const char *const always[] = {
        "--mpi=pmix", "--kill-on-bad-exit=1", "--cpu-bind=none", /* workers pin themselves */
        /* Beside the step that we may be in, and as many as were asked for. */
        "--overlap", "--overcommit", "--distribution=arbitrary", NULL};
    const struct allocation *allocation = settings->allocation;
    int hosts = 0;
    for (int i = 0; i < allocation->list.count; i++)
        hosts += allocation->dealt[i] > 0;
    if (hosts == 0)
        return fail(STATUS_FAILED_PRECONDITION, "--launcher srun knows no hosts: %s",
                    allocation->unused[0] ? allocation->unused : "name them with --hosts");
    TRY(add(command, "%s", program));
    TRY(add_all(command, always));
    TRY(add(command, "--ntasks=%d", allocation->workers));
    TRY(add(command, "--nodes=%d", hosts));
    TRY(add_task_hosts(command, allocation));
    return add_worker(command, settings);
}

/* ---- the whole ---- */

/* Open MPI refuses to run as root unless told twice that it is meant. */
static enum status make_environment(struct launch_command *command,
                                    const struct launch_settings *settings, enum launch_kind kind)
{
    static char allow[] = "OMPI_ALLOW_RUN_AS_ROOT=1";
    static char confirm[] = "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
    size_t count = 0;
    while (settings->environment[count])
        count++;
    command->environment = calloc(count + 4, sizeof *command->environment);
    if (!command->environment)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an environment");
    memcpy(command->environment, settings->environment, count * sizeof *command->environment);
    if (kind == LAUNCH_MPIRUN && geteuid() == 0) {
        command->environment[count++] = allow;
        command->environment[count++] = confirm;
    }
    if (kind == LAUNCH_SRUN && settings->pin) {
        if (asprintf(&command->pin, "OMPI_MCA_btl_tcp_if_include=%s", settings->pin) < 0) {
            command->pin = NULL;
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an environment");
        }
        command->environment[count++] = command->pin;
    }
    return STATUS_OK;
}

enum status launch_command_make(struct launch_command *command, enum launch_kind kind,
                                const char *program, const struct launch_settings *settings,
                                const char *folder)
{
    struct launch_command made = {.count = 0};
    enum status status = STATUS_OK;
    if (access(settings->worker, X_OK) != 0)
        return fail(STATUS_NOT_FOUND, "worker program %s: %s", settings->worker, strerror(errno));
    switch (kind) {
    case LAUNCH_MPIRUN:
        status = add_mpirun(&made, program, settings, folder);
        break;
    case LAUNCH_SRUN:
        status = add_srun(&made, program, settings);
        break;
    case LAUNCH_THREADS:
        status = add_worker(&made, settings);
        if (status == STATUS_OK)
            status = add(&made, "--ranks=%d", settings->allocation->workers);
        break;
    }
    if (status == STATUS_OK)
        status = make_environment(&made, settings, kind);
    if (status == STATUS_OK)
        *command = made;
    else
        launch_command_free(&made);
    return status;
}

void launch_command_free(struct launch_command *command)
{
    for (size_t i = 0; i < command->count; i++)
        free(command->arguments[i]);
    free(command->environment);
    free(command->pin);
    *command = (struct launch_command){.count = 0};
}
