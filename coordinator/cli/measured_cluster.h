/* The workers that are measured: how many, with how many threads, and whether those have a core
 * each. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"

struct json_writer;
struct rpc_client;

enum { MEASURED_CLUSTER_MODEL_BYTES = 128 };

struct measured_cluster {
    char model[MEASURED_CLUSTER_MODEL_BYTES]; /* the name in the model file; "": it has none */
    int workers;                              /* of the first group */
    int threads;                              /* of all of them */
    bool all_here;                            /* every worker runs on this host */
    bool shared_cores; /* those on this host have more threads than it has cores for them */
};

/* UNAVAILABLE where no group is ready. */
MUST_CHECK enum status measured_cluster_read(struct measured_cluster *cluster,
                                             struct rpc_client *client);
