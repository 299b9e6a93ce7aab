/* The answer of GetCluster. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/requests.h"
#include "coordinator/sessions.h"
#include "coordinator/workers.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

struct cluster_facts {
    const char *model;
    int64_t context_tokens;
    bool draining;
    int64_t queued_requests;
    const struct requests_view *requests; /* [requests_count] */
    size_t requests_count;
    const struct sessions_totals *sessions;
    bool all_requests; /* or one tenant's, who hears of no other's */
};

MUST_CHECK enum status cluster_write(struct rpc_call *call, const struct cluster_facts *facts,
                                     struct workers *workers);
