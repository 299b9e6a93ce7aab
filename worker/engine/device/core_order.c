/* Owns the look at the machine through hwloc. Promises that no CPU outside of this process's own
 * set (Slurm, cgroup, taskset) is named as one that it may use, and that processes of one machine
 * name and order its cores alike, whatever each of them may use. */
#include "worker/engine/device/core_order.h"

#include <hwloc.h>
#include <hwloc/glibc-sched.h>
#include <stdbool.h>

static struct core_order_core describe(hwloc_obj_t core, hwloc_const_bitmap_t allowed)
{
    hwloc_bitmap_t usable = hwloc_bitmap_dup(core->complete_cpuset);
    hwloc_bitmap_and(usable, usable, allowed);
    const struct core_order_core described = {
        .core = hwloc_bitmap_first(core->complete_cpuset),
        .cpu = hwloc_bitmap_first(usable),
        .node = hwloc_bitmap_first(core->complete_nodeset),
    };
    hwloc_bitmap_free(usable);
    return described;
}

/* The number of cores that this process may use. */
static int list_cores(struct core_order *order, hwloc_topology_t topology,
                      hwloc_const_bitmap_t allowed)
{
    int usable = 0;
    hwloc_obj_t core = NULL;
    order->count = 0;
    while (order->count < CORE_ORDER_MOST &&
           (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core))) {
        const struct core_order_core described = describe(core, allowed);
        if (described.core < 0 || described.core >= CPU_SETSIZE)
            continue;
        order->cores[order->count++] = described;
        usable += described.cpu >= 0;
    }
    return usable;
}

enum status core_order_read(struct core_order *order)
{
    hwloc_topology_t topology;
    if (hwloc_topology_init(&topology) != 0)
        return fail(STATUS_IO, "hwloc: no memory for the machine's topology");
    cpu_set_t process_set;
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    const bool read =
        hwloc_topology_set_flags(topology, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) == 0 &&
        hwloc_topology_load(topology) == 0 &&
        sched_getaffinity(0, sizeof process_set, &process_set) == 0;
    int usable = 0;
    if (read) {
        hwloc_cpuset_from_glibc_sched_affinity(topology, allowed, &process_set, sizeof process_set);
        usable = list_cores(order, topology, allowed);
    }
    hwloc_bitmap_free(allowed);
    hwloc_topology_destroy(topology);
    if (usable == 0)
        return fail(STATUS_IO, "hwloc does not know the cores of this machine");
    return STATUS_OK;
}

void core_order_allowed(cpu_set_t *cores, const struct core_order *order)
{
    CPU_ZERO(cores);
    for (int c = 0; c < order->count; c++)
        if (order->cores[c].cpu >= 0)
            CPU_SET(order->cores[c].core, cores);
}
