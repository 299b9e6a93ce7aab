/* Simulated time, and how messages pass through the links of a cluster: what a simulation of ranks
 * (simulate.h) waits for.
 *
 * A message occupies its sender's port, and from one latency after it began there, its receiver's
 * port, each for its bytes over the link's rate and in the sequence in which messages come. Ranks
 * of one host have a port of their own each; between hosts, ranks that share a network card share
 * its port. What lies between ports is never full.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/cost.h"
#include "proto/status.h"

/* Where ranks stand and what connects them. */
struct simulate_links {
    struct cost_link host, network;
    int ranks_per_host;         /* rank r is on host r / ranks_per_host */
    int ranks_per_network_card; /* of those, neighbours that share a network card */
};

struct simulate_exchange;

/* What happened at `time`. */
struct simulate_event {
    double time;
    int rank; /* whose timer it is, or whom the message reached */
    int from; /* a message's sender; -1: a timer */
};

MUST_CHECK enum status simulate_exchange_create(struct simulate_exchange **exchange,
                                                const struct simulate_links *links, int workers);
void simulate_exchange_destroy(struct simulate_exchange *exchange);

/* Wakes `rank` at `time`; a rank has one timer. */
MUST_CHECK enum status simulate_exchange_wake(struct simulate_exchange *exchange, double time,
                                              int rank);

/* Both sides are ready for a message of so many bytes, which travels in `pieces` messages one
 * behind the other. Messages from one rank to another arrive in the sequence in which they
 * start. */
MUST_CHECK enum status simulate_exchange_start(struct simulate_exchange *exchange, double now,
                                               int from, int to, double bytes, double pieces);

/* What comes next; *found is false where nothing does. */
MUST_CHECK enum status simulate_exchange_next(struct simulate_exchange *exchange,
                                              struct simulate_event *event, bool *found);
