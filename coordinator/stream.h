/* What a Generate or a Score call tells its client, event by event. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/group_run.h"
#include "coordinator/errand_client.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* The two responses have the same events apart from tokens and scores. */
struct stream {
    const struct errand_client *client;
    const char *request_id;
    bool is_score;
    int64_t progress_ns; /* when progress was last told */
    int64_t prefill_ns;  /* when the run began */
    int64_t tokens_told;
};

/* Each posts one event, without waiting for the client; CANCELLED when it is gone. */

/* Where a waiting request stands. */
struct stream_place {
    int64_t ahead; /* requests before it, those that run included */
    bool waiting_for_workers;
};

MUST_CHECK enum status stream_queued(struct stream *stream, const struct stream_place *place);
MUST_CHECK enum status stream_planned(struct stream *stream, Longhaul__V1__PlanSummary *plan);
/* At most five times a second, and the last one always. */
MUST_CHECK enum status stream_progress(struct stream *stream, int64_t done, int64_t total);
/* Nothing when both are empty. `logprobs` [id_count] with so many of the likeliest tokens; NULL:
 * none were asked for. */
MUST_CHECK enum status stream_tokens(struct stream *stream, const char *text, const int32_t *ids,
                                     const struct group_logprobs *logprobs, size_t id_count,
                                     int likeliest);
MUST_CHECK enum status stream_scores(struct stream *stream, int64_t first, const int32_t *ids,
                                     size_t id_count, const float *logprobs, size_t count);

/* What one rank did, in as many events as that takes. */
MUST_CHECK enum status stream_trace(struct stream *stream, int rank,
                                    const struct group_trace *trace);

struct stream_end {
    Longhaul__V1__FinishReason reason; /* Generate */
    uint64_t seed;                     /* Generate */
    double perplexity;                 /* Score */
    int64_t prompt_tokens;
    double load_seconds;
    const double *slowness; /* of each reported worker (worker_speeds.h); NULL: not known */
};

MUST_CHECK enum status stream_finished(struct stream *stream, const struct stream_end *end,
                                       const struct group_outcome *outcome);
