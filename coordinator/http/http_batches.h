/* /v1/batches: batches of the store whose lines are an uploaded file. */
#pragma once

#include "coordinator/http/http_exchange.h"

MUST_CHECK enum status http_batches_create(struct http_exchange *exchange);
MUST_CHECK enum status http_batches_list(struct http_exchange *exchange);
MUST_CHECK enum status http_batches_get(struct http_exchange *exchange);
MUST_CHECK enum status http_batches_cancel(struct http_exchange *exchange);
