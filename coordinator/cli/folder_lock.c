/* Owns nothing: the descriptor lives as long as the process, and its children have it too. */
#include "coordinator/cli/folder_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/recipe/run_folder.h"
#include "proto/clock.h"

enum { PATIENCE_MS = 30000, LOOK_MS = 50 };

static enum status wait_for_lock(int descriptor, const char *folder)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    const int64_t deadline_ns = clock_after_ms(PATIENCE_MS);
    for (bool told = false; flock(descriptor, LOCK_EX | LOCK_NB) != 0; told = true) {
        /* Lustre without its option, and some NFS: the user must see to it. */
        if (errno == ENOSYS || errno == EOPNOTSUPP || errno == ENOLCK)
            return STATUS_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail(STATUS_IO, "lock %s: %s", folder, strerror(errno));
        if (interrupt_count() > 0)
            return fail(STATUS_CANCELLED, "interrupted");
        if (clock_now_ns() > deadline_ns)
            return fail(STATUS_UNAVAILABLE,
                        "%s is in use by another command or the trainer that it started: wait for "
                        "it, or name another output.folder",
                        folder);
        if (!told)
            console_say("waiting for what else works in %s", folder);
        nanosleep(&pause, NULL);
    }
    return STATUS_OK;
}

enum status folder_lock_take(const char *folder)
{
    TRY(run_folder_make(folder));
    /* Not closed on exec: a trainer holds it too. */
    const int descriptor = open(folder, O_RDONLY | O_DIRECTORY);
    if (descriptor < 0)
        return fail(STATUS_IO, "open %s: %s", folder, strerror(errno));
    const enum status status = wait_for_lock(descriptor, folder);
    if (status != STATUS_OK)
        close(descriptor);
    return status;
}
