/* longhaul.v1.Batches and longhaul.v1.Documents: the store, what validates and runs its batches,
 * and the rows for a server's table. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/errand.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

struct access;
struct batch_tools;
struct batch_service;
struct store;

struct batch_service_settings {
    const char *folder;   /* of the store; "": none is kept, and every call says so */
    bool accept_lost_log; /* store_options, as what follows */
    int64_t cache_bytes;
    struct errand_tools *errand; /* borrowed, as what follows */
    struct access *access;       /* what tenants may have */
    int64_t batch_retention_seconds, document_retention_seconds;
};

/* Opens the store and goes on with what it holds. */
MUST_CHECK enum status batch_service_create(struct batch_service **service,
                                            const struct batch_service_settings *settings);

/* For those who answer the same calls by other means. Lives as long as the service. */
const struct batch_tools *batch_service_tools(const struct batch_service *service);

/* NULL where none is kept. */
struct store *batch_service_store(const struct batch_service *service);

enum { BATCH_SERVICE_METHODS = 15 };

void batch_service_methods(struct batch_service *service,
                           struct rpc_method methods[BATCH_SERVICE_METHODS]);

/* Whether the store takes changes; false where none is kept. */
bool batch_service_is_serving(const struct batch_service *service);

/* Whether no line runs. */
bool batch_service_is_idle(const struct batch_service *service);

/* Waits for the lines that run, whose errands must be stopping, and closes the store; nobody calls
 * any more. `left`, which may be NULL, becomes true where the store keeps lines that are still to
 * be run, or does not tell. A NULL service is accepted. */
void batch_service_destroy(struct batch_service *service, bool *left);
