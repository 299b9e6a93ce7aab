/* From the times of many requests to the figures by which serving is judged, under the names that
 * vLLM's serving bench, InferenceX and AIPerf give them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/bench/samples.h"
#include "proto/status.h"

struct json_writer;

/* Times are nanoseconds of one clock. */
struct serving_record {
    int64_t intended_ns; /* when it was to be sent; all latencies count from here */
    int64_t sent_ns;     /* when it was */
    int64_t end_ns;      /* when its last word came, or its refusal */
    int64_t *arrivals;   /* [arrival_count], borrowed: when each message with tokens came */
    size_t arrival_count;
    int64_t input_tokens, output_tokens, cached_tokens;
    bool completed;
    char error[160]; /* why not; "" where it was */
};

/* A request is good where it keeps to all that are above 0. */
struct serving_goals {
    double ttft_ms, tpot_ms, e2el_ms;
};

struct serving_metrics {
    size_t completed, failed, good;
    bool has_goals;
    double duration; /* seconds from the first intended start to the last end */
    int64_t input_tokens, output_tokens, cached_tokens; /* of completed ones */
    size_t max_concurrent_requests;
    /* Of completed requests: seconds to the first token; a token after the first; between messages;
     * in all; that it waited at the client to be sent. Tokens a second that a user gets. */
    struct samples ttft, tpot, itl, e2el, queued, per_user;
};

/* TTFT = first arrival - intended; E2EL = end - intended; TPOT = (end - first arrival) over the
 * output tokens but one, of requests with two at least; ITL = what lies between messages that
 * follow one another. A request without a second token has a TPOT of 0 for the goals. The caller
 * calls serving_metrics_deinit, also after a failure. */
MUST_CHECK enum status serving_metrics_make(struct serving_metrics *metrics,
                                            const struct serving_record *records, size_t count,
                                            const struct serving_goals *goals);
void serving_metrics_deinit(struct serving_metrics *metrics);

/* Members of the open object, as `vllm bench serve` names them, with InferenceX's `*_intvty`, and
 * under "aiperf" as AIPerf's export has them. */
void serving_metrics_write(struct json_writer *writer, struct serving_metrics *metrics);

/* Each request's own, as vLLM's detailed results have them: input_lens, output_lens, ttfts, itls,
 * latencies, start_times, queue_times, errors. */
void serving_metrics_write_records(struct json_writer *writer, const struct serving_record *records,
                                   size_t count);
