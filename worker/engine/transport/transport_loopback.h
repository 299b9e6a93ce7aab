/* The transport between threads of one process: the plainest one, and the yardstick of the
 * others. */
#pragma once

#include "worker/engine/transport/transport.h"

/* Makes the transports of `size` ranks; transports[r] is then used by the one thread that plays
 * rank r. Each is destroyed by itself, in any order; the last one frees what they share. `options`
 * may be NULL. */
MUST_CHECK enum status transport_loopback_create_group(struct transport *transports[], int size,
                                                       const struct transport_options *options);

/* For tests: from now on what rank `t` sends arrives no sooner than `delay_ns` after it was sent,
 * without keeping a core busy; so a test can prove that arithmetic hides the delivery. Collectives
 * are not delayed. */
void transport_loopback_delay(struct transport *t, int64_t delay_ns);
