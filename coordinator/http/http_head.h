/* What the head of a request says before its body is read: how long that is, where the request
 * comes from, and who asks. */
#pragma once

#include <stdint.h>

#include "coordinator/http/http_exchange.h"

/* `*body_bytes` is what the head tells; 0 for a body in chunks, too. INVALID_ARGUMENT for a head
 * that two servers could read in two ways. */
MUST_CHECK enum status http_head_length(struct http_exchange *exchange, uint64_t *body_bytes);

/* PERMISSION_DENIED for what a page of another site makes a browser send, and, where no token
 * protects the port, for a Host that is no name of this host. */
MUST_CHECK enum status http_head_site(struct http_exchange *exchange);

/* Who asks, with the scopes of the route. */
MUST_CHECK enum status http_head_caller(struct http_exchange *exchange);
