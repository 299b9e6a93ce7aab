/* Which path is answered by what. */
#pragma once

#include "coordinator/http/http_exchange.h"

/* Sets the exchange's route, name and, where there is none, code. NOT_FOUND for a path that is not
 * there, UNIMPLEMENTED for one that has other methods. */
MUST_CHECK enum status http_routes_find(struct http_exchange *exchange, const char *method,
                                        const char *path);
