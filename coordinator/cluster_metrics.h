/* What metrics tell of a coordinator as it is when they are read: its groups and their ranks, what
 * waits and runs, and the store. */
#pragma once

#include "coordinator/batch/store.h"
#include "coordinator/queue.h"
#include "coordinator/requests.h"
#include "coordinator/sessions.h"
#include "coordinator/workers.h"
#include "proto/metrics.h"

struct cluster_metrics {
    struct workers *workers;
    struct queue *queue;
    struct requests *requests;
    struct sessions *sessions;
    struct store *store; /* NULL: none is kept */
    struct metrics_collector collector;
    int64_t context_tokens;
    int group_requests; /* that a group is asked to answer at a time */
};

/* Borrows them all until cluster_metrics_end. */
void cluster_metrics_begin(struct cluster_metrics *metrics);
void cluster_metrics_end(struct cluster_metrics *metrics);
