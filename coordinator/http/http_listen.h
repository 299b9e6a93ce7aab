/* The socket that HTTP clients connect to. */
#pragma once

#include "proto/status.h"

/* Binds "HOST:PORT" (port 0: any free one) and listens; `*port` is the one that was bound. The
 * caller closes it. INVALID_ARGUMENT for what is no address, UNAVAILABLE where it cannot be
 * bound. */
MUST_CHECK enum status http_listen(int *socket, int *port, const char *address);
