/* Owns the choice of CPUs. Promises that ranks of one host which all choose so do not share a core
 * while there are enough, and that no CPU outside of this process's own set (Slurm, cgroup,
 * taskset) is chosen. */
#include "worker/engine/device/binding.h"

#include "proto/log.h"

#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <sched.h>
#include <stdio.h>

/* The first CPU of each core that this process may use, in the machine's order. */
static int list_cores(hwloc_topology_t topology, hwloc_const_bitmap_t allowed, int *units)
{
    int count = 0;
    hwloc_obj_t core = NULL;
    while (count < BINDING_THREADS &&
           (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core))) {
        hwloc_bitmap_t usable = hwloc_bitmap_dup(core->cpuset);
        hwloc_bitmap_and(usable, usable, allowed);
        const int first = hwloc_bitmap_first(usable);
        hwloc_bitmap_free(usable);
        if (first >= 0)
            units[count++] = first;
    }
    return count;
}

static enum status read_cores(int *units, int *count)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return fail(STATUS_IO, "hwloc: no memory for the machine's topology");
    cpu_set_t process_set;
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    const bool read = hwloc_topology_load(topology) == 0 &&
                      sched_getaffinity(0, sizeof process_set, &process_set) == 0;
    *count = 0;
    if (read) {
        hwloc_cpuset_from_glibc_sched_affinity(topology, allowed, &process_set, sizeof process_set);
        *count = list_cores(topology, allowed, units);
    }
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(topology);
    if (*count == 0)
        return fail(STATUS_IO, "hwloc does not know the cores of this machine");
    return STATUS_OK;
}

enum status binding_choose(struct binding *binding, int local_rank, int local_size, int threads)
{
    if (threads < 0 || threads > BINDING_THREADS)
        return fail(STATUS_INVALID_ARGUMENT, "%d threads for one rank: the limit is %d", threads,
                    BINDING_THREADS);
    int units[BINDING_THREADS];
    int cores = 0;
    TRY(read_cores(units, &cores));
    const int first = (int)((long)cores * local_rank / local_size);
    const int end = (int)((long)cores * (local_rank + 1) / local_size);
    const int share = end - first;
    binding->host_cores = cores;
    binding->cores = share;
    binding->threads = threads > 0 ? threads : share > 0 ? share : 1;
    binding->pinned = binding->threads <= share;
    for (int i = 0; i < binding->threads; i++)
        binding->processing_units[i] = binding->pinned ? units[first + i] : -1;
    if (!binding->pinned)
        log_line(LOG_WARN, "cores are short", log_integer("threads", binding->threads),
                 log_integer("cores", share), log_integer("ranks_here", local_size),
                 log_integer("host_cores", cores), log_text("pinned", "no"));
    return STATUS_OK;
}

void binding_facts(const struct binding *binding, char *line, int bytes)
{
    snprintf(line, (size_t)bytes, "threads=%d cores=%d host_cores=%d pinned=%s", binding->threads,
             binding->cores, binding->host_cores, binding->pinned ? "yes" : "no");
}
