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
    int64_t silence_ms;  /* after which a coordinator that says nothing is lost; 5 s at least */
    const Longhaul__Control__V1__Hello *hello;
};

/* What the coordinator asks of the rank, as its Welcome says. */
struct join_welcome {
    int64_t heartbeat_ms; /* between heartbeats */
    int runs;             /* at a time */
    int64_t context_tokens;
};

/* The rank's stream, welcomed by the coordinator. UNAVAILABLE when no coordinator answers in time,
 * UNAUTHENTICATED when it has another secret; otherwise the coordinator's refusal. */
MUST_CHECK enum status join(struct rpc_stream **stream, struct join_welcome *welcome,
                            const struct join_args *args);
