/* The page at / and what it shows. */
#pragma once

#include "coordinator/http/http_exchange.h"

/* Its three files, which are part of the program. */
MUST_CHECK enum status http_page_html(struct http_exchange *exchange);
MUST_CHECK enum status http_page_css(struct http_exchange *exchange);
MUST_CHECK enum status http_page_js(struct http_exchange *exchange);

/* /longhaul/v1/state: groups, requests with their plans, batches. Who has not the scope admin sees
 * the requests and batches of his own tenant, and numbers of all. */
MUST_CHECK enum status http_page_state(struct http_exchange *exchange);
