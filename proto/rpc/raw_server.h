/* gRPC's own server, with our limits: what rpc_server.c listens with. */
#pragma once

#include <grpc/grpc.h>

#include "proto/rpc/rpc_queue.h"
#include "proto/rpc/rpc_tls.h"
#include "proto/status.h"

/* With both queues and nothing to listen on; the caller destroys it. */
grpc_server *raw_server_create(struct rpc_queue *arrivals, struct rpc_queue *calls);

/* Listens under TLS, before the server starts; `*bound` is the port. The caller releases
 * `*credentials`, which is set as soon as there are any. */
MUST_CHECK enum status raw_server_listen(grpc_server *raw, grpc_server_credentials **credentials,
                                         int *bound, const char *address,
                                         const struct rpc_tls *tls);
