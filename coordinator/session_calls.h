/* The service longhaul.v1.Sessions. */
#pragma once

#include "coordinator/errand.h"
#include "proto/rpc/rpc_server.h"

enum { SESSION_CALLS_METHODS = 5 };

/* Borrows the tools. */
void session_calls_methods(struct errand_tools *tools,
                           struct rpc_method methods[SESSION_CALLS_METHODS]);
