/* At which address other hosts reach this one: by the route to them, or of an interface that is
 * named. IPv4, as Open MPI's own connections are. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

enum { LOCAL_ADDRESS_BYTES = 20, LOCAL_ADDRESS_INTERFACE_BYTES = 64 };

struct local_address {
    char text[LOCAL_ADDRESS_BYTES];                /* "10.1.0.7" */
    char network[LOCAL_ADDRESS_BYTES];             /* "10.1.0.0/16" */
    char interface[LOCAL_ADDRESS_INTERFACE_BYTES]; /* "eth0" */
    uint32_t bits, mask;                           /* of the address and its network */
};

/* The address from which this host talks to `host`, which has the address `other`. UNAVAILABLE
 * without a route, or where that is this host's loopback. */
MUST_CHECK enum status local_address_towards(struct local_address *address, const char *host,
                                             struct in_addr other);

/* The address of the interface of that name, or the one that lies in "10.1.0.0/16". NOT_FOUND with
 * those that there are. */
MUST_CHECK enum status local_address_of(struct local_address *address, const char *interface);

/* Whether `other` is of the address's network: then the network's name means the same there. */
bool local_address_is_near(const struct local_address *address, struct in_addr other);
