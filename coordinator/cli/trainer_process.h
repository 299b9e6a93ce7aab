/* longhaul-trainer as a command starts it on this host: its ranks are threads of one process, or
 * processes under mpirun. What it prints goes where the command's own output goes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "proto/train/train_config.h"

/* Once, from main: PATH and TMPDIR; NULL: not set. */
void trainer_process_configure(const char *path, const char *temporary);

struct trainer_process_args {
    const char *config_path;
    const struct train_config *config;
    const char *stage; /* "extend", "replay" */
    int64_t retries;   /* starts after ranks were lost */
    int64_t steps;     /* ends behind this one; 0: the configuration's last */
    bool json, analyze;
    bool mpi; /* ranks are processes */
};

/* Runs it to its end. The first Ctrl-C or SIGTERM asks it to end with a checkpoint, the second one
 * ends it at once: CANCELLED. UNAVAILABLE where ranks were lost once more than args->retries. */
MUST_CHECK enum status trainer_process_run(const struct trainer_process_args *args);

/* CANCELLED, and what to do. */
MUST_CHECK enum status trainer_process_interrupted(void);
