/* What files and batches over HTTP share: the store, and how ids are spelt. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "coordinator/http/http_exchange.h"
#include "proto/json_writer.h"

/* The ids of clients, of which the store has the last part. */
#define HTTP_FILE_PREFIX "file-"
#define HTTP_OUTPUT_PREFIX "file-output_"
#define HTTP_ERRORS_PREFIX "file-errors_"
#define HTTP_BATCH_PREFIX "batch_"

enum { HTTP_ID_BYTES = STORE_ID_BYTES + 16 };

/* The tools of batches, with a store. FAILED_PRECONDITION, with what to do, where none is kept. */
MUST_CHECK enum status http_store_tools(struct http_exchange *exchange,
                                        const struct batch_tools **tools);

/* The store's id behind `prefix`; NOT_FOUND for an id that does not begin like this. */
MUST_CHECK enum status http_store_id(const char **id, const char *told, const char *prefix);

/* Gives a failure of the store a reason and a time to ask again, where it has none. */
enum status http_store_end(struct http_exchange *exchange, enum status status);

/* A page of a list, as OpenAI's clients read it. */
struct http_list {
    int64_t room; /* entries that it still takes */
    bool more;    /* there was one too many */
    char first[HTTP_ID_BYTES], last[HTTP_ID_BYTES];
};

void http_store_begin_list(struct json_writer *writer);
/* Whether there is room for one more, which is noted; its id is `prefix` and the store's. */
bool http_store_list_takes(struct http_list *list, const char *prefix, const char *id);
void http_store_end_list(struct json_writer *writer, const struct http_list *list);

/* Of a list: `limit` [1, 1000], 20 where it is not given. */
MUST_CHECK enum status http_store_limit(struct http_exchange *exchange, int64_t *limit);
