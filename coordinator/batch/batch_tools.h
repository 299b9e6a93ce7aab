/* What the calls of batches and documents share, and what each of them is given. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/access/access.h"
#include "coordinator/batch/store.h"
#include "coordinator/errand.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

struct batch_dispatch;
struct batch_validate;

/* The service owns it. */
struct batch_tools {
    struct store *store; /* NULL: none is kept */
    struct errand_tools *errand;
    struct access *access; /* what tenants may have */
    struct batch_dispatch *dispatch;
    struct batch_validate *validate;
    int64_t batch_retention_seconds, document_retention_seconds; /* where a client leaves it open */
    struct rpc_share streams;                                    /* of calls that last */
};

/* One call. */
struct batch_context {
    const struct batch_tools *tools;
    struct rpc_call *call;
    struct status_details *details; /* the call's */
    const char *tenant;
    struct store_limits limits; /* the tenant's */
};

/* Handles a call. `request` is NULL where the client streams. */
typedef enum status batch_handler(const struct batch_context *context,
                                  const ProtobufCMessage *request);

/* What the tenant may have in the store. */
struct store_limits batch_tools_limits(const struct access_tenant *tenant);

/* Lets `handle` answer. Gives a failure a reason where it has none yet, and a time after which to
 * ask again where that may help. FAILED_PRECONDITION, with what to do, where no store is kept. */
MUST_CHECK enum status batch_tools_handle(const struct batch_tools *tools, struct rpc_call *call,
                                          const ProtobufCMessage *request, batch_handler *handle);

/* What that does of a failure; for calls that are ended later. */
enum status batch_tools_end(struct status_details *details, enum status status);

/* What a request id stands for: the method and the whole request. Freed by batch_tools_forget. */
MUST_CHECK enum status batch_tools_request(struct store_request *request,
                                           const struct batch_context *context, const char *method,
                                           const char *request_id, const ProtobufCMessage *message);
void batch_tools_forget(struct store_request *request);

/* The id in a request's field `name`. INVALID_ARGUMENT unless it is "COLLECTION/ID". */
MUST_CHECK enum status batch_tools_name(const struct batch_context *context, const char **id,
                                        const char *name, const char *collection);

/* `size` of a page as a client asked for it: [0, 1000], 0 is 100. */
MUST_CHECK enum status batch_tools_page_size(struct status_details *details, int64_t *count,
                                             int32_t size);

/* Page tokens say where a listing of `what` goes on; they fit nothing else. */
enum { BATCH_TOOLS_TOKEN_BYTES = 160 };
void batch_tools_token(char token[BATCH_TOOLS_TOKEN_BYTES], const char *what, int64_t place);
/* 0 for "". INVALID_ARGUMENT for a token of another listing. */
MUST_CHECK enum status batch_tools_place(struct status_details *details, int64_t *place,
                                         const char *what, const char *token);
