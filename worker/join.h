/* A rank's way into its group: finds the coordinator, shows it the join secret, and introduces
 * itself. */
#pragma once

#include <stdint.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/rpc/rpc_client.h"
#include "proto/status.h"
#include "worker/engine/transport/transport.h"

struct join_args {
    struct rpc_client *client;
    struct transport *transport; /* looked after while the rank waits */
    const char *secret_file;
    int64_t deadline_ms; /* longest wait for a coordinator and its secret */
    const Longhaul__Control__V1__Hello *hello;
};

/* The rank's stream, welcomed by the coordinator, and the time between heartbeats that it asks for
 * (0: as before). UNAVAILABLE when no coordinator answers in time, UNAUTHENTICATED when it has
 * another secret; otherwise the coordinator's refusal. */
MUST_CHECK enum status join(struct rpc_stream **stream, int64_t *heartbeat_ms,
                            const struct join_args *args);
