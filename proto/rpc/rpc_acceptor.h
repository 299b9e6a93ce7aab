/* A listening port and the connections that came by it, with a bound on how many there are.
 *
 * gRPC's own listener is not used: once accept() has failed for want of descriptors it never
 * listens again. Here the port pauses and goes on.
 *
 * Of `connections_max` connections each may make any call. When there are as many, the one that has
 * been without a call for longest makes room for a new one, those first that never made a call;
 * where all are in calls, a few more are let in, marked spare: for probes and workers alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

enum { RPC_ACCEPTOR_SPARE = 64, RPC_PEER_BYTES = 64 };

struct rpc_acceptor;

struct rpc_acceptor_args {
    const char *address; /* "HOST:PORT"; port 0 is any free one */
    int connections_max;
    /* Takes a connected socket, on the acceptor's thread. Its number is that of no other connection
     * for long: "fd:N" names one connection. */
    void (*accepted)(void *context, int fd);
    void *context;
};

/* Binds and listens; nothing is accepted yet. INVALID_ARGUMENT for what is no address of this host,
 * UNAVAILABLE where it is in use. */
MUST_CHECK enum status rpc_acceptor_create(struct rpc_acceptor **acceptor,
                                           const struct rpc_acceptor_args *args);

int rpc_acceptor_port(const struct rpc_acceptor *acceptor);

MUST_CHECK enum status rpc_acceptor_start(struct rpc_acceptor *acceptor);

/* Accepts nothing more. NULL is accepted. */
void rpc_acceptor_stop(struct rpc_acceptor *acceptor);

/* Also lets go of the connections, which whoever took them has closed. NULL is accepted. */
void rpc_acceptor_destroy(struct rpc_acceptor *acceptor);

/* One call on a connection; `number` is 0 when the connection is not known any more. */
struct rpc_acceptor_call {
    uint64_t number;
    bool spare;                /* only calls that room is kept for */
    char peer[RPC_PEER_BYTES]; /* "ipv4:127.0.0.1:40312" */
};

/* A call has come by the connection with gRPC's name "fd:N". A connection with calls is never
 * closed to make room. */
void rpc_acceptor_call_begin(struct rpc_acceptor *acceptor, struct rpc_acceptor_call *call,
                             const char *name);
void rpc_acceptor_call_end(struct rpc_acceptor *acceptor, const struct rpc_acceptor_call *call);
