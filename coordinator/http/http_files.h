/* /v1/files: uploads are documents of the store (documents/ID is file-ID), and a batch's results
 * are files that are written as they are read. */
#pragma once

#include "coordinator/http/http_exchange.h"

enum { HTTP_FILE_BYTES_MAX = 512 << 20 };

/* POST /v1/files, a form. */
MUST_CHECK enum status http_files_begin(struct http_exchange *exchange);
MUST_CHECK enum status http_files_take(struct http_exchange *exchange, const char *bytes,
                                       size_t count);
MUST_CHECK enum status http_files_create(struct http_exchange *exchange);

MUST_CHECK enum status http_files_list(struct http_exchange *exchange);
MUST_CHECK enum status http_files_get(struct http_exchange *exchange);
MUST_CHECK enum status http_files_delete(struct http_exchange *exchange);
MUST_CHECK enum status http_files_content(struct http_exchange *exchange);
