/* Owns one open of the register. Promises that a start waits for it half a second at most, that
 * nothing of it is left by a process that is gone, and that a core is not given twice to groups
 * which see the same register.
 *
 * The register is made of locks alone: a read lock on byte N of a file says that core N is held.
 * Read locks need no permission to write, and GETLK tells whose they are not; whoever changes the
 * register locks the whole file meanwhile (flock, which is of another kind and does not meet them).
 * Open file description locks belong to an open file, not to a process, so that groups in one
 * process are told apart too, and the kernel drops them when the last process that has it open is
 * gone.
 *
 * The file is the kernel's own: a namespace's, of which there is one for all processes that live in
 * it. It needs no folder that all users may write, no name that others may take first, and is not
 * hidden by containers' own /tmp, /dev/shm and networks. The time namespace is the one that hardly
 * anything separates; kernels before 5.6 have none, and there the users' serves. */
#include "worker/engine/device/core_register.h"

#include "proto/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 500, LOOK_NS = 1000000 };

static const char *const places[] = {"/proc/self/ns/time", "/proc/self/ns/user"};

struct core_register {
    int descriptor;
};

static struct flock lock_of(int core, short type)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = core, .l_len = 1};
}

static int open_first(const char *path)
{
    if (path)
        return open(path, O_RDONLY | O_CLOEXEC);
    int descriptor = -1;
    for (size_t p = 0; p < sizeof places / sizeof places[0] && descriptor < 0; p++)
        descriptor = open(places[p], O_RDONLY | O_CLOEXEC);
    return descriptor;
}

/* 0, or an errno. */
static int lock_changes(int descriptor)
{
    const int64_t deadline_ns = clock_after_ms(WAIT_MS);
    while (flock(descriptor, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return errno;
        if (clock_now_ns() >= deadline_ns)
            return EBUSY;
        const struct timespec pause = {.tv_nsec = LOOK_NS};
        nanosleep(&pause, NULL);
    }
    return 0;
}

enum status core_register_open(struct core_register **held, const char *path)
{
    struct core_register *opened = malloc(sizeof *opened);
    if (!opened)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the register of held cores");
    opened->descriptor = open_first(path);
    const int code = opened->descriptor < 0 ? errno : lock_changes(opened->descriptor);
    if (code == 0) {
        *held = opened;
        return STATUS_OK;
    }
    core_register_close(opened);
    return fail(STATUS_UNAVAILABLE, "the machine's register of held cores: %s", strerror(code));
}

void core_register_read(const struct core_register *held, cpu_set_t *foreign,
                        const cpu_set_t *cores)
{
    CPU_ZERO(foreign);
    for (int core = 0; core < CPU_SETSIZE; core++) {
        if (!CPU_ISSET(core, cores))
            continue;
        struct flock lock = lock_of(core, F_WRLCK);
        if (fcntl(held->descriptor, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
            CPU_SET(core, foreign);
    }
}

enum status core_register_settle(struct core_register *held, const cpu_set_t *cores)
{
    int code = 0;
    for (int core = 0; core < CPU_SETSIZE && code == 0; core++) {
        struct flock lock = lock_of(core, F_RDLCK);
        if (CPU_ISSET(core, cores) && fcntl(held->descriptor, F_OFD_SETLK, &lock) != 0)
            code = errno;
    }
    (void)flock(held->descriptor, LOCK_UN);
    if (code != 0)
        return fail(STATUS_UNAVAILABLE, "hold cores in the machine's register: %s", strerror(code));
    return STATUS_OK;
}

void core_register_close(struct core_register *held)
{
    if (!held)
        return;
    if (held->descriptor >= 0)
        close(held->descriptor);
    free(held);
}
