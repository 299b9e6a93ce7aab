/* The sampling that a client asks for, checked, with every default filled in. */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/sampling.h"
#include "proto/status.h"

/* INVALID_ARGUMENT, with its path in *field, for a value out of its range. NULL is greedy. */
MUST_CHECK enum status sampling_request_read(struct sampling *sampling, const char **field,
                                             const Longhaul__V1__Sampling *request);

/* For the workers. */
void sampling_request_run(Longhaul__Control__V1__RunSampling *run, const struct sampling *sampling);
