/* The service longhaul.v1.Sessions. */
#pragma once

#include "coordinator/errand.h"
#include "proto/rpc/rpc_server.h"

enum { SESSION_CALLS_METHODS = 7 };

/* Borrows the tools. */
void session_calls_methods(struct errand_tools *tools,
                           struct rpc_method methods[SESSION_CALLS_METHODS]);

/* Answers the call with the session of this number, which it has made. */
MUST_CHECK enum status session_calls_tell_made(struct rpc_call *call,
                                               const struct errand_tools *tools, int64_t number);

/* Refuses seconds that no session is kept for; `field` has them. */
MUST_CHECK enum status session_calls_expiry(struct status_details *details, const char *field,
                                            int64_t seconds);
