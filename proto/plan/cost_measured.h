/* Rates that were measured on a machine (longhaul calibrate), by the number of a worker's threads,
 * and how a worker's table follows from them. */
#pragma once

#include <stdbool.h>

#include "proto/plan/cost.h"

enum { COST_MEASURED_THREADS_MAX = 16, COST_MEASURED_KERNELS_BYTES = 32 };

/* Workers of so many threads, measured while as many of them as have room used the host's cores. */
struct cost_measured_row {
    int threads;
    struct cost_table table; /* without its links */
};

struct cost_measured {
    char kernels[COST_MEASURED_KERNELS_BYTES];                /* the variant that was measured */
    struct cost_measured_row rows[COST_MEASURED_THREADS_MAX]; /* [count] */
    int count;
    struct cost_link within, between; /* bytes_per_second 0: not measured */
};

/* The table of a worker with so many threads and these kernels; false, and nothing set, where
 * others were measured. From the row that is nearest by ratio: arithmetic goes with the threads,
 * memory does not. Links that were not measured are cost_table_default's. */
bool cost_measured_table(struct cost_table *table, const struct cost_measured *measured,
                         const char *kernels, int threads);
