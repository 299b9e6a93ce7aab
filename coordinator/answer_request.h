/* What a client asks of an answer, checked: how long it may be, how its tokens are chosen, and what
 * is told of them. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/sampling_request.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* It points into itself: not to be moved. */
struct answer_request {
    int64_t max_tokens; /* 0: not asked for */
    int64_t min_tokens;
    struct sampling_request sampling;
    bool logprobs;
    int likeliest;
    int answers; /* at least 1 */
    bool drafts;
    bool no_prefix_reuse, trace, ignore_end;
};

/* Of a model of so many tokens; `drafts` where the request does not say. INVALID_ARGUMENT names the
 * first field that is out of its range, in *field too. */
MUST_CHECK enum status answer_request_read(struct answer_request *read, const char **field,
                                           const Longhaul__V1__GenerateRequest *request,
                                           int64_t vocab, bool drafts);

/* What Score asks for: nothing. */
MUST_CHECK enum status answer_request_none(struct answer_request *read, const char **field);

/* The same for the workers, but for max_tokens; `run` points into it and into `sampling`. */
void answer_request_run(Longhaul__Control__V1__Run *run,
                        Longhaul__Control__V1__RunSampling *sampling,
                        const struct answer_request *request);
