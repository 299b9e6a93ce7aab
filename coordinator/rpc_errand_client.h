/* A gRPC call as the client of an errand. */
#pragma once

#include "coordinator/errand_client.h"
#include "proto/rpc/rpc_server.h"

/* Borrows the call, for as long as its handler runs. */
void rpc_errand_client_init(struct errand_client *client, struct rpc_call *call);
