/* The sampling that a client asks for, checked, with every default filled in. */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/sampling.h"
#include "proto/status.h"

/* It points into itself: not to be moved. */
struct sampling_request {
    struct sampling sampling;
    int32_t bias_ids[SAMPLING_BIASES_MAX];
    float biases[SAMPLING_BIASES_MAX];
};

/* NULL asks for nothing. A seed that is not asked for is drawn. INVALID_ARGUMENT names the first
 * field that is out of its range; *field is its path in the request. Whether biases are of tokens
 * says sampling_check_biases. */
MUST_CHECK enum status sampling_request_read(struct sampling_request *read, const char **field,
                                             const Longhaul__V1__Sampling *request);

/* The same for the workers; `run` points into it. */
void sampling_request_run(Longhaul__Control__V1__RunSampling *run, const struct sampling *sampling);
