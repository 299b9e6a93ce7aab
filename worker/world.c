/* Owns nothing. Promises that processes which were started together are one group, or refused. */
#include "worker/world.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* What is no number in [0, 2^20] is 0, as if it were not set. */
static int number_of(const char *text)
{
    char *end = NULL;
    const long number = text ? strtol(text, &end, 10) : 0;
    return end && end != text && !*end && number > 0 && number <= 1 << 20 ? (int)number : 0;
}

static bool is_set(const char *text)
{
    return text && text[0];
}

/* Who started this process, and how many with it. mpirun inside a job starts its daemons by srun,
 * whose variables are then those of the daemons. */
static void find_launcher(struct world *world, const struct world_environment *environment)
{
    if (number_of(environment->ompi_size)) {
        world->launcher = "mpirun";
        world->tasks = number_of(environment->ompi_size);
        world->rank = number_of(environment->ompi_rank);
    } else if (number_of(environment->slurm_tasks)) {
        world->launcher = "srun";
        world->tasks = number_of(environment->slurm_tasks);
        world->rank = number_of(environment->slurm_process);
    } else if (number_of(environment->pmi_size)) {
        world->launcher = "a launcher with PMI";
        world->tasks = number_of(environment->pmi_size);
        world->rank = number_of(environment->pmi_rank);
    } else {
        world->rank = number_of(environment->pmix_rank);
    }
}

/* Whether somebody is there whom MPI can ask for its peers. */
static bool has_server(const struct world_environment *environment)
{
    return number_of(environment->ompi_size) || number_of(environment->pmi_size) ||
           (is_set(environment->pmix_namespace) && is_set(environment->pmix_rank));
}

enum status world_find(struct world *world, const struct world_environment *environment,
                       const char *transport, int ranks)
{
    struct world found = {.mpi = false};
    find_launcher(&found, environment);
    const bool asked = strcmp(transport, "mpi") == 0;
    if (strcmp(transport, "loopback") == 0) {
        *world = found;
        return STATUS_OK;
    }
    if (ranks > 1 && (asked || found.tasks > 1))
        return fail(STATUS_INVALID_ARGUMENT,
                    "--ranks makes threads the ranks, and %s makes processes the ranks: leave one "
                    "of them out",
                    asked ? "--transport mpi" : found.launcher);
    if (found.tasks > 1 && !has_server(environment))
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s started %d workers without MPI, so that each would be a group of its own: "
                    "start them with srun --mpi=pmix, or say --transport loopback where that is "
                    "meant",
                    found.launcher, found.tasks);
    /* A task of srun that is alone needs no MPI to be a group. */
    const bool alone = ranks > 1 || (found.tasks == 1 && !number_of(environment->ompi_size));
    found.mpi = asked || (has_server(environment) && !alone);
    *world = found;
    return STATUS_OK;
}

enum status world_check(const struct world *world, int size)
{
    if (world->tasks == 0 || world->tasks == size)
        return STATUS_OK;
    return fail(STATUS_FAILED_PRECONDITION,
                "%s started %d workers, and MPI found %d: this MPI does not know that launcher "
                "(Open MPI needs mpirun, or srun --mpi=pmix)",
                world->launcher, world->tasks, size);
}
