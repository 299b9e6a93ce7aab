/* The exchanges that ranks are made of, each alone: the memory that they use, one of each, and
 * whether it was right. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/transport.h"

enum exchange_op {
    EXCHANGE_DIRECT,    /* each rank's part straight to every other, as the schedule gather does */
    EXCHANGE_RING,      /* the same parts, passed from rank to rank */
    EXCHANGE_GATHER,    /* the same by the collective for small data, as decode does */
    EXCHANGE_BROADCAST, /* rank 0's bytes to all, as a verdict */
    EXCHANGE_BARRIER,   /* no bytes */
    EXCHANGE_OPS
};

/* "direct", "ring", ... */
extern const char *const exchange_op_names[EXCHANGE_OPS];

/* Of what ends up on each rank in so many seconds, and of what each rank's link carries for it: the
 * factors are those of nccl-tests (all_gather: (n - 1) / n; broadcast: 1). */
double exchange_algorithm_rate(double bytes, double seconds);
double exchange_bus_rate(enum exchange_op op, int ranks, double bytes, double seconds);

/* One rank's. */
struct exchange {
    struct transport *transport;
    const struct cuda_streams *streams; /* where the parts lie; NULL: in the host's memory */
    unsigned char *all;                 /* [bytes] parts by rank */
    unsigned char *host;                /* [bytes] what is written to and read from `all` */
    size_t bytes;
    struct transport_request **requests; /* [2 * size] */
    struct CUevent_st *event;
    bool spoil; /* rank 0 sends a wrong byte where it is checked: to see that the check sees it */
};

/* Room for so many bytes on each rank. All are borrowed. */
MUST_CHECK enum status exchange_open(struct exchange *exchange, struct transport *transport,
                                     const struct cuda_streams *streams, size_t bytes);
void exchange_close(struct exchange *exchange);

/* One exchange, `bytes` of each rank (of a broadcast: in all). Returns when this rank's part is
 * done, but for what a GPU still does (exchange_settle). */
MUST_CHECK enum status exchange_do(struct exchange *exchange, enum exchange_op op, size_t bytes);
MUST_CHECK enum status exchange_settle(struct exchange *exchange);

/* One exchange of new bytes, and how many came wrong on this rank. */
MUST_CHECK enum status exchange_check(struct exchange *exchange, enum exchange_op op, size_t bytes,
                                      uint64_t round, size_t *wrong);
