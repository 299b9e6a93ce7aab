/* The service longhaul.v1.Sessions. */
#pragma once

#include "coordinator/errand.h"
#include "proto/rpc/rpc_server.h"

enum { SESSION_CALLS_METHODS = 7 };

/* Borrows the tools. */
void session_calls_methods(struct errand_tools *tools,
                           struct rpc_method methods[SESSION_CALLS_METHODS]);

/* Answers the call with the session of this number, which it has made, or the call that it repeats:
 * UNAVAILABLE where that one failed. */
MUST_CHECK enum status session_calls_tell_made(struct rpc_call *call,
                                               const struct errand_tools *tools,
                                               const struct sessions_request *asked, int64_t number,
                                               bool repeated);

/* Whose call it is, and what makes it the same as another of this request_id. */
MUST_CHECK enum status session_calls_request(struct rpc_call *call,
                                             struct sessions_request *request,
                                             const char *request_id,
                                             const ProtobufCMessage *message);

/* Refuses seconds that no session is kept for; `field` has them. */
MUST_CHECK enum status session_calls_expiry(struct status_details *details, const char *field,
                                            int64_t seconds);

/* A request that is repeated while the first one runs waits for it, as long as its caller does. */
MUST_CHECK enum status session_calls_wait(const struct errand_client *caller,
                                          const struct errand_tools *tools, int64_t number);
