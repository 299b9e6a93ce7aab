/* The coordinator's own worker group: started by mpirun or srun, or as one process where ranks are
 * its threads; started again when it dies; ended with the coordinator. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/allocation.h"
#include "proto/status.h"

struct launch;

struct launch_settings {
    const char *worker;           /* the program's path */
    const char *coordinator;      /* HOST:PORT that ranks join; NULL: none, they train */
    const char *join_secret;      /* the file that they read; NULL: none */
    const char *const *arguments; /* further ones of the worker, [argument_count] */
    size_t argument_count;
    const struct allocation *allocation; /* where they run, and how many */
    bool mpi;                            /* ranks are processes; otherwise loopback */
    const char *transport; /* what ranks that are processes are told: "auto", "mpi", "nccl" */
    const char *launcher;  /* of processes: "auto", "mpirun", "srun" */
    bool in_job;           /* this is in a Slurm job, where srun works */
    const char *pin;       /* the network or interface of Open MPI; NULL: it chooses */
    const char *path;      /* PATH, where mpirun and srun are looked for */
    const char *temporary; /* TMPDIR; NULL: not set */
    char *const *environment;
    int64_t join_deadline_ms;
};

/* What the supervisor sees at one look. */
struct launch_sight {
    bool joined;  /* a rank of the group is there */
    bool serving; /* the group serves */
    const char
        *trouble; /* what a group failed by since launch_started_ns; "" when nothing is known */
};

/* Starts the group; copies what it needs. NOT_FOUND without mpirun or the worker program. */
MUST_CHECK enum status launch_create(struct launch **launch,
                                     const struct launch_settings *settings);

/* To be called several times a second. A group that ends is started again: at once when it had
 * served, and otherwise after 1, 2, 4 ... 60 s. One that ends or does not join in time before any
 * has ever served is a failure. */
MUST_CHECK enum status launch_look(struct launch *launch, const struct launch_sight *sight);

/* When the present processes, or the last ones, were started. */
int64_t launch_started_ns(const struct launch *launch);

/* Ends the group's processes: waits `grace_ms` for them to leave, then asks, then kills. NULL is
 * accepted. */
void launch_destroy(struct launch *launch, int64_t grace_ms);
