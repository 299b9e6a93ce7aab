/* Which CPUs a rank's threads run on. */
#pragma once

#include "proto/status.h"
#include "worker/engine/device/core_order.h"
#include "worker/engine/device/core_shares.h"

#include <stdbool.h>

enum { BINDING_THREADS = 512, BINDING_LIST_BYTES = 96 };

struct binding {
    int threads;       /* of this rank */
    int cores;         /* in this rank's share */
    int host_cores;    /* that this process may use, before sharing */
    int foreign_cores; /* of these, those that other worker groups hold */
    bool pinned;       /* false: cores are short, so the threads float and share them */
    int processing_units[BINDING_THREADS]; /* for thread_pool_create; [threads] used */
    char cpus[BINDING_LIST_BYTES];         /* that the threads run on: "0-3,8" */
    char nodes[BINDING_LIST_BYTES];        /* of memory, that these CPUs are on: "0" */
};

/* What a rank of this process asks for. `threads` 0: one for each core of its share. */
MUST_CHECK enum status binding_request(struct core_request *request, const struct core_order *order,
                                       int threads);

/* What its share means here. Warns in the log where cores are short. `ranks`: of this group on this
 * machine. */
MUST_CHECK enum status binding_take(struct binding *binding, const struct core_order *order,
                                    const struct core_share *share, int ranks);

/* Both for a rank whose peers on this host may use the same cores, and where no other group holds
 * any. */
MUST_CHECK enum status binding_choose(struct binding *binding, int local_rank, int local_size,
                                      int threads);

/* One line, for start-up and doctor: "threads=2 cores=2 host_cores=4 pinned=yes". */
void binding_facts(const struct binding *binding, char *line, int bytes);
