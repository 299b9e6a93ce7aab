/* How the ranks agree on when to stop: rank 0 says it, at agreed places, and all ranks leave at the
 * same one.
 *
 * In a prefill rank 0 offers a verdict as it begins a layer, and everyone acts on it at the end of
 * that layer. In decode it comes with each token.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/device/device.h"
#include "worker/engine/transport/transport.h"

struct verdict {
    int32_t stop;   /* 0: go on */
    int32_t status; /* enum status: why a prefill or a decode is cut short; OK for an end reached */
    int32_t token;  /* decode: the next token */
    uint64_t non_finite; /* where numbers are not finite; NON_FINITE_NONE: status says why */
};

struct verdict_post {
    struct transport *transport;
    struct verdict verdict;              /* being sent or received */
    uint64_t *places;                    /* [size] each rank's, being sent or received */
    struct transport_request **requests; /* [size] */
};

MUST_CHECK enum status verdict_init(struct verdict_post *post, struct transport *transport);
void verdict_deinit(struct verdict_post *post);

/* Rank 0 sends `verdict` to all; the others make ready to hear it. Does not wait for peers, but for
 * its own last offer. */
MUST_CHECK enum status verdict_offer(struct verdict_post *post, const struct verdict *verdict);

/* Where numbers are not finite, of all ranks: each gives its own place, rank 0 gets the first.
 * `drive` is called while it waits. */
MUST_CHECK enum status verdict_collect(struct verdict_post *post, uint64_t *non_finite,
                                       const struct device_drive *drive);

/* What rank 0 offered. `drive` is called while it waits. */
MUST_CHECK enum status verdict_take(struct verdict_post *post, struct verdict *verdict,
                                    const struct device_drive *drive);
