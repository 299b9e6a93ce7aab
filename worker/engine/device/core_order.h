/* The machine's cores, in an order in which neighbours share caches and memory. */
#pragma once

#include "proto/status.h"

#include <sched.h>

enum { CORE_ORDER_MOST = CPU_SETSIZE };

struct core_order_core {
    int core; /* its lowest CPU, whether this process may use that or not: the same for all */
    int cpu;  /* the first of its CPUs that this process may use; -1: none */
    int node; /* of memory */
};

struct core_order {
    int count;
    struct core_order_core cores[CORE_ORDER_MOST];
};

/* Fails where this process may use no core that is known. */
MUST_CHECK enum status core_order_read(struct core_order *order);

/* By core: those that this process may use. */
void core_order_allowed(cpu_set_t *cores, const struct core_order *order);
