/* Which CPUs a rank's threads run on: the cores that this process may use, shared out among the
 * ranks of the host. */
#pragma once

#include "proto/status.h"

#include <stdbool.h>

enum { BINDING_THREADS = 512 };

struct binding {
    int threads;                           /* of this rank */
    int cores;                             /* in this rank's share */
    int host_cores;                        /* that this process may use, before sharing */
    bool pinned;                           /* false: cores are short, so the threads float */
    int processing_units[BINDING_THREADS]; /* for thread_pool_create; [threads] used */
};

/* `threads` 0: one per core of the share. Warns in the log when cores are fewer than threads. */
MUST_CHECK enum status binding_choose(struct binding *binding, int local_rank, int local_size,
                                      int threads);

/* One line, for start-up and doctor: "threads=2 cores=2 host_cores=4 pinned=yes". */
void binding_facts(const struct binding *binding, char *line, int bytes);
