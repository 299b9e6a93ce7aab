/* Owns one child at a time. Promises that it has ended when the call returns. */
#include "coordinator/cli/subprocess.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"

extern char **environ;

enum status subprocess_beside(char *path, size_t room, const char *program)
{
    char own[PATH_MAX];
    ssize_t bytes = readlink("/proc/self/exe", own, sizeof own - 1);
    if (bytes < 0)
        return fail(STATUS_IO, "find this program's own folder: %s", strerror(errno));
    own[bytes] = '\0';
    char *slash = strrchr(own, '/');
    if (slash)
        *slash = '\0';
    if ((size_t)snprintf(path, room, "%s/%s", own, program) >= room)
        return fail(STATUS_INVALID_ARGUMENT, "the path of %s is too long", program);
    if (access(path, X_OK) != 0)
        return fail(STATUS_NOT_FOUND, "%s: %s; it is installed beside longhaul", path,
                    strerror(errno));
    return STATUS_OK;
}

static enum status spawn_into(pid_t *child, int output, const char *const *argv)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    /* posix_spawnp writes to no argument. */
    int reason = posix_spawnp(child, argv[0], &actions, NULL, (char *const *)(size_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (reason)
        return fail(STATUS_NOT_FOUND, "start %s: %s", argv[0], strerror(reason));
    return STATUS_OK;
}

/* False at the deadline. What does not fit is read and dropped, so that the child can end. */
static bool read_until_closed(char *output, size_t room, int input, double deadline)
{
    size_t used = 0;
    char spare[4096];
    output[0] = '\0';
    for (;;) {
        double left = deadline - clock_now_seconds();
        struct pollfd wanted = {.fd = input, .events = POLLIN};
        if (left <= 0 || poll(&wanted, 1, (int)(left * 1000) + 1) == 0)
            return false;
        bool full = used + 1 >= room;
        ssize_t got =
            full ? read(input, spare, sizeof spare) : read(input, output + used, room - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return true;
        if (!full)
            used += (size_t)got;
        output[used] = '\0';
    }
}

enum status subprocess_capture(char *output, size_t room, const char *const *argv, double seconds)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail(STATUS_IO, "make a pipe: %s", strerror(errno));
    pid_t child = 0;
    enum status status = spawn_into(&child, ends[1], argv);
    close(ends[1]);
    if (status != STATUS_OK) {
        close(ends[0]);
        return status;
    }
    bool in_time = read_until_closed(output, room, ends[0], clock_now_seconds() + seconds);
    close(ends[0]);
    if (!in_time)
        kill(child, SIGKILL);
    int how = 0;
    while (waitpid(child, &how, 0) < 0 && errno == EINTR)
        continue;
    if (!in_time)
        return fail(STATUS_DEADLINE_EXCEEDED, "%s gave no answer within %.0f s", argv[0], seconds);
    if (!WIFEXITED(how) || WEXITSTATUS(how) != 0)
        return fail(STATUS_UNAVAILABLE, "%s failed (%s %d)", argv[0],
                    WIFEXITED(how) ? "exit code" : "signal",
                    WIFEXITED(how) ? WEXITSTATUS(how) : WTERMSIG(how));
    return STATUS_OK;
}
