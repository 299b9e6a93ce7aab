/* Which processes are the ranks of a group, as the launcher of this one tells by its environment:
 * mpirun, srun, or whoever started a single process. Pure: main reads the environment. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"

/* Each as the environment has it; NULL: not set. */
struct world_environment {
    const char *ompi_size, *ompi_rank;       /* OMPI_COMM_WORLD_SIZE, _RANK: by mpirun */
    const char *pmix_namespace, *pmix_rank;  /* PMIX_NAMESPACE, PMIX_RANK: mpirun and srun */
    const char *pmi_size, *pmi_rank;         /* PMI_SIZE, PMI_RANK: srun --mpi=pmi2 and others */
    const char *slurm_tasks, *slurm_process; /* SLURM_STEP_NUM_TASKS, SLURM_PROCID: srun alone sets
                                                the first; a batch script has the second too */
};

struct world {
    bool mpi;             /* ranks are processes of one MPI job; otherwise threads of this one */
    const char *launcher; /* "mpirun"; NULL: not known */
    int tasks;            /* that the launcher started together; 0: not known */
    int rank;             /* among them */
};

/* `transport` as --transport says it, `ranks` as --ranks does. FAILED_PRECONDITION where several
 * processes were started together that MPI cannot join: each would be a group of its own.
 * INVALID_ARGUMENT for --ranks where each process is a rank. */
MUST_CHECK enum status world_find(struct world *world, const struct world_environment *environment,
                                  const char *transport, int ranks);

/* Whether MPI found as many processes as were started together. FAILED_PRECONDITION otherwise. */
MUST_CHECK enum status world_check(const struct world *world, int size);
