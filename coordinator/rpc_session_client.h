/* A gRPC call as the client of a session. */
#pragma once

#include "coordinator/session_client.h"
#include "proto/rpc/rpc_server.h"

/* Borrows the call, for as long as its handler runs. */
void rpc_session_client_init(struct session_client *client, struct rpc_call *call);
