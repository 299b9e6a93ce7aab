/* Which keys and values travel between ranks that share out one training sample: for each rank, the
 * panels of other ranks in which its queries see a key. Their gradients go back along the same
 * messages. Pure; every rank makes the same list. docs/decisions/training.md says why it is no
 * schedule.
 */
#pragma once

#include <stdint.h>

#include "kernels/regimes.h"
#include "proto/plan/partition.h"
#include "proto/status.h"

struct key_message {
    struct span keys; /* consecutive tokens of one owned span */
    int from, to;
};

/* By `to`, then by keys; two ranks find their messages in the same order. */
struct key_exchange {
    struct key_message *list;
    int count, capacity;
};

/* For all tokens that `ownership` has dealt. positions [tokens] as in kernels/attention_spans.h;
 * keys go by whole panels of the ownership. `exchange` starts zeroed, and is made again in the same
 * memory where that is enough. */
MUST_CHECK enum status key_exchange_make(struct key_exchange *exchange,
                                         const struct ownership *ownership,
                                         const struct regimes *regimes, const int32_t *positions);
void key_exchange_deinit(struct key_exchange *exchange);
