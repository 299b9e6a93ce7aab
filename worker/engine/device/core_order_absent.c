/* Stands where core_order.c would, in a program built without hwloc: each CPU counts as a core. */
#include "worker/engine/device/core_order.h"

enum status core_order_read(struct core_order *order)
{
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return fail(STATUS_IO, "the system does not say which CPUs this process may use");
    order->count = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed))
            order->cores[order->count++] = (struct core_order_core){.core = cpu, .cpu = cpu};
    return STATUS_OK;
}

void core_order_allowed(cpu_set_t *cores, const struct core_order *order)
{
    CPU_ZERO(cores);
    for (int c = 0; c < order->count; c++)
        CPU_SET(order->cores[c].core, cores);
}
