/* One Generate call: its events shown as they come, its answer printed or kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/cli/progress.h"
#include "coordinator/text/id_list.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

struct rpc_client;

struct answer {
    struct progress progress;
    struct rpc_client *placed; /* whose workers' placement is told with the plan; NULL: none's */
    bool begun;                /* more than its place in the queue has come */
    bool stream;               /* print the text as it comes */
    int64_t timeout_ms;        /* of the whole; 0: none */
    int64_t token_limit;       /* of the answer; as the plan tells it */
    char *text;                /* the whole answer, 0-terminated; NULL while there is none */
    size_t text_bytes;
    struct id_list ids;
    Longhaul__V1__Tokens **logprobs; /* [logprobs_count]: the pieces that told some, as they came */
    size_t logprobs_count;
    Longhaul__V1__RankTrace **traces; /* [trace_count], as they came */
    size_t trace_count;
    Longhaul__V1__PlanSummary *plan;  /* NULL before it came */
    Longhaul__V1__Finished *finished; /* NULL before the end */
};

/* Returns when the answer is complete; the text's last line is ended. CANCELLED after an interrupt,
 * with what had come already shown. IO where standard output takes no more. */
MUST_CHECK enum status answer_ask(struct answer *answer, struct rpc_client *client,
                                  const Longhaul__V1__GenerateRequest *request);

/* The answer as one JSON object on standard output. */
void answer_print_json(const struct answer *answer);

void answer_deinit(struct answer *answer);
