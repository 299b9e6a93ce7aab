/* The sampling that a client asks for, checked, with every default filled in. */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

/* INVALID_ARGUMENT, with the field in `details`, for a value out of its range. NULL is greedy. */
MUST_CHECK enum status sampling_request_read(Longhaul__Control__V1__RunSampling *sampling,
                                             struct status_details *details,
                                             const Longhaul__V1__Sampling *request);
