/* The IPv4 addresses of many hosts by their names, all together within a deadline. */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "coordinator/host_list.h"
#include "proto/status.h"

/* Of hosts[i] into addresses[i] where wanted[i] is not 0, [count]. NOT_FOUND for a host that has
 * none; UNAVAILABLE, with the first that is open, where name servers take longer than
 * `deadline_ms`. */
MUST_CHECK enum status host_lookup(struct in_addr *addresses, const struct host *hosts,
                                   const int *wanted, int count, int64_t deadline_ms);
