/* The command that starts a worker group: mpirun with its ranks, srun with its tasks, or one worker
 * whose threads are the ranks. */
#pragma once

#include <stddef.h>

#include "coordinator/launch.h"
#include "proto/status.h"

enum launch_kind { LAUNCH_THREADS, LAUNCH_MPIRUN, LAUNCH_SRUN };

enum { LAUNCH_COMMAND_MOST = 192 };

struct launch_command {
    char *arguments[LAUNCH_COMMAND_MOST + 1]; /* owned; ends in NULL */
    size_t count;
    char **environment; /* owned list of borrowed and owned strings; ends in NULL */
    char *pin;          /* owned, one of them; NULL: none */
};

/* How the group is started, and by which program, [PATH_MAX]. NOT_FOUND where it is not on PATH. */
MUST_CHECK enum status launch_command_choose(enum launch_kind *kind, char *program,
                                             const struct launch_settings *settings);

/* `folder`: for mpirun's files on this host; NULL: not mpirun. NOT_FOUND without the worker's
 * program. */
MUST_CHECK enum status launch_command_make(struct launch_command *command, enum launch_kind kind,
                                           const char *program,
                                           const struct launch_settings *settings,
                                           const char *folder);

void launch_command_free(struct launch_command *command);
