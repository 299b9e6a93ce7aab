/* How keys and values, and small messages, go between ranks: what the planner weighs with. */
#pragma once

#include "proto/plan/cost.h"
#include "proto/status.h"
#include "worker/engine/transport/transport.h"

/* Among so many hosts each is measured with each other one; of more, with the nearest ones. */
enum { LINK_RATE_HOSTS_AWAY = 8, LINK_RATE_PAIRS_MAX = 64 };

/* From the ranks of one host to those of another, or to each other; a host is named by its first
 * rank. */
struct link_rate {
    int from, to;
    struct cost_link link;
};

struct link_rates {
    int host_ranks;           /* of the host that has most */
    struct cost_link within;  /* between ranks of one host, the slowest; all 0: none was measured */
    struct cost_link between; /* between hosts, the slowest pair */
    struct link_rate pairs[LINK_RATE_PAIRS_MAX]; /* [count] of hosts, by `from` and `to` */
    int count;
};

/* Every rank calls it, and all get the same. Measured while all ranks send and receive at once, a
 * rank each to another one. Nothing is measured of one rank alone, and over NCCL, which carries
 * what lies on GPUs only. Takes the time of a few megabytes for each step between hosts. */
MUST_CHECK enum status link_rate_measure(struct link_rates *rates, struct transport *transport);
