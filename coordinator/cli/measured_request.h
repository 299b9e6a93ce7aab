/* One Generate call as a client sees it: when each part of its answer came, and what the workers
 * report. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

struct rpc_client;

struct measured_request_args {
    struct rpc_client *client;
    const char *request_id; /* NULL: the coordinator names it */
    const char *text;       /* raw */
    int64_t prompt_tokens;  /* that it has; another count is INTERNAL */
    int64_t max_tokens;     /* exactly as many are answered */
    const char *method;     /* its spelling; NULL: the coordinator's */
    bool no_prefix_reuse;
    int64_t stage_tokens; /* 0: the coordinator's choice */
    Longhaul__V1__Draft draft;
    int64_t timeout_ms; /* of the whole; 0: the coordinator's limit alone */
    bool once;          /* a refusal until later is a failure */
};

/* Tokens that came in one message. */
struct measured_arrival {
    int64_t ns; /* of the monotonic clock */
    int64_t tokens;
};

struct measured_request {
    int64_t begin_ns, end_ns;          /* as sent, and when all had come */
    struct measured_arrival *arrivals; /* [arrival_count] */
    size_t arrival_count, arrival_room;
    int64_t answer_tokens;
    Longhaul__V1__PlanSummary *plan;  /* NULL before it came */
    Longhaul__V1__Finished *finished; /* NULL before the end */
    bool begun;                       /* more than its place in the queue has come */
};

/* `request` need not be set before. The caller calls measured_request_deinit, also after a failure.
 * CANCELLED after an interrupt, and where the coordinator cut the answer short. */
MUST_CHECK enum status measured_request_run(struct measured_request *request,
                                            const struct measured_request_args *args);
void measured_request_deinit(struct measured_request *request);

/* From `from_ns`, which need not be when it was sent, until the first token came. */
double measured_request_first_seconds(const struct measured_request *request, int64_t from_ns);
