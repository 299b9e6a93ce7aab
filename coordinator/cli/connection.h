/* The coordinator that a command asks: one that runs already, or one of its own. */
#pragma once

#include <stdint.h>

#include "coordinator/cli/private_coordinator.h"
#include "coordinator/cli/server_option.h"
#include "proto/rpc/rpc_client.h"
#include "proto/status.h"

struct connection {
    const char *address; /* of a running one; NULL: `own` is */
    struct private_coordinator *own;
    struct rpc_client *client;
};

/* Where the option names no address, starts the coordinator that `own` describes. The caller calls
 * connection_end, also after a failure. */
MUST_CHECK enum status connection_open(struct connection *connection,
                                       const struct server_option *option,
                                       const struct private_coordinator_args *own);

/* Closes it. Hands `status`, how the asking ended, on, with what helps to understand a failure: the
 * address, or on standard error what the command's own coordinator complained of. */
MUST_CHECK enum status connection_end(struct connection *connection, enum status status);

/* One request, one reply, which the caller frees with protobuf_c_message_free_unpacked. */
MUST_CHECK enum status connection_ask(struct connection *connection, ProtobufCMessage **reply,
                                      const struct rpc_stream_args *call,
                                      const ProtobufCMessage *request);
