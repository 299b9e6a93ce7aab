/* How likely each token of a text is after those before it, as a coordinator tells it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/cli/method_option.h"
#include "coordinator/cli/progress.h"
#include "coordinator/text/id_list.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

struct rpc_client;

/* {0}, or with what `progress` is to tell, before the call. */
struct text_scores {
    struct progress progress;
    bool begun;               /* more than its place in the queue has come */
    const int64_t *positions; /* [positions_count] of its tokens; NULL: the indices */
    size_t positions_count;
    struct id_list ids;
    float *logprobs; /* [ids.count - 1]; entry t is of token t + 1 */
    size_t logprobs_count;
    size_t logprobs_room;
    Longhaul__V1__PlanSummary *plan;
    Longhaul__V1__ScoreFinished *finished;
};

/* Waits for all of it. CANCELLED after an interrupt. The caller calls text_scores_deinit, also
 * after a failure. */
MUST_CHECK enum status text_scores_ask(struct text_scores *scores, struct rpc_client *client,
                                       const char *text, struct method_option *method,
                                       int64_t timeout_ms);
void text_scores_deinit(struct text_scores *scores);
