/* What files and batches over HTTP share: the store, and how ids are spelt. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "coordinator/http/http_exchange.h"

/* The ids of clients, of which the store has the last part. */
#define HTTP_FILE_PREFIX "file-"
#define HTTP_OUTPUT_PREFIX "file-output_"
#define HTTP_ERRORS_PREFIX "file-errors_"
#define HTTP_BATCH_PREFIX "batch_"

enum { HTTP_ID_BYTES = STORE_ID_BYTES + 16 };

/* The tools of batches, with a store. FAILED_PRECONDITION, with what to do, where none is kept. */
MUST_CHECK enum status http_store_tools(struct http_exchange *exchange,
                                        const struct batch_tools **tools);

/* The tenant's quotas, as the store takes them. */
struct store_limits http_store_limits(const struct http_exchange *exchange);

/* The store's id behind `prefix`; NOT_FOUND for an id that does not begin like this. */
MUST_CHECK enum status http_store_id(const char **id, const char *told, const char *prefix);

/* Gives a failure of the store a reason and a time to ask again, where it has none. */
enum status http_store_end(struct http_exchange *exchange, enum status status);

/* Of a list: `limit` [1, 1000], 20 where it is not given. */
MUST_CHECK enum status http_store_limit(struct http_exchange *exchange, int64_t *limit);
