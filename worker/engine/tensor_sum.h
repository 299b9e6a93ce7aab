/* Sums over the tensor axis: what the ranks of the axis have each computed of some rows, added up
 * in the order of their places (proto/plan/tensor_sums.h). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/device/device.h"
#include "worker/engine/transport/transport.h"

struct tensor_sum {
    struct transport *axis;              /* NULL: there is none, and nothing to sum */
    struct transport_request **requests; /* [2 size] */
};

/* `axis` is borrowed, and may be NULL. */
MUST_CHECK enum status tensor_sum_init(struct tensor_sum *sum, struct transport *axis);
void tensor_sum_deinit(struct tensor_sum *sum);

/* `partial` [count] becomes the sum, on every rank of the axis. `scratch` has room for
 * tensor_sums_scratch floats. `waiting` is called while it waits; it may be NULL. */
MUST_CHECK enum status tensor_sum_take(const struct tensor_sum *sum, float *partial, float *scratch,
                                       int64_t count, bool of_stage,
                                       const struct device_drive *waiting);
