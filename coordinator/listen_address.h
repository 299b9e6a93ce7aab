/* Where a coordinator listens, and how its own workers reach it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

enum { LISTEN_ADDRESS_BYTES = 300 };

/* Whether only this host can connect to it. */
bool listen_address_is_local(const char *listen);

/* Without TLS only this host may be listened to, unless `insecure` is spelt out. INVALID_ARGUMENT
 * otherwise. */
MUST_CHECK enum status listen_address_check(const char *listen, bool insecure);

/* Where workers join: `asked`, or, where that is "", `host` and the port after the one in `listen`,
 * any free one where that is. Both have passed host_port_check. */
MUST_CHECK enum status listen_address_for_workers(char address[LISTEN_ADDRESS_BYTES],
                                                  const char *asked, const char *listen,
                                                  const char *host);

/* HOST:PORT with the port that was bound; a host that stands for all of them becomes `host`. */
void listen_address_reach(char address[LISTEN_ADDRESS_BYTES], const char *listen, int port,
                          const char *host);
