/* Stands where binding.c would, in a program built without hwloc: threads float. */
#include "worker/engine/device/binding.h"

#include <sched.h>
#include <stdio.h>

enum status binding_choose(struct binding *binding, int local_rank, int local_size, int threads)
{
    cpu_set_t allowed;
    (void)local_rank;
    *binding = (struct binding){.host_cores = 1};
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0)
        binding->host_cores = CPU_COUNT(&allowed);
    binding->cores = binding->host_cores > local_size ? binding->host_cores / local_size : 1;
    binding->threads = threads > 0 ? threads : binding->cores;
    if (binding->threads > BINDING_THREADS)
        return fail(STATUS_INVALID_ARGUMENT, "%d threads for a rank; at most %d", binding->threads,
                    BINDING_THREADS);
    return STATUS_OK;
}

void binding_facts(const struct binding *binding, char *line, int bytes)
{
    snprintf(line, (size_t)bytes, "threads=%d cores=%d host_cores=%d pinned=no", binding->threads,
             binding->cores, binding->host_cores);
}
