/* A batch's results as two files, as OpenAI has them: lines that ended well, and all others. They
 * are written from the store as they are read; until the batch has ended they grow. */
#pragma once

#include "coordinator/http/http_exchange.h"

/* Whether this is the id of such a file. */
bool http_results_is(const char *id);

/* The file as an object; its bytes are counted. */
MUST_CHECK enum status http_results_file(struct http_exchange *exchange);
MUST_CHECK enum status http_results_content(struct http_exchange *exchange);
