/* "HOST:PORT", as flags and settings spell an address. */
#pragma once

#include "proto/status.h"

/* INVALID_ARGUMENT, with what is missing, unless `text` is a host, a colon and a port from
 * `port_least` (0: any free one may be asked for) to 65535. An IPv6 address stands in brackets. */
MUST_CHECK enum status host_port_check(const char *text, int port_least);
