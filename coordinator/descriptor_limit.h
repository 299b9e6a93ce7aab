/* How many descriptors the process may have, and how many connections that is enough for. */
#pragma once

/* Raises the soft limit to the hard one and logs both. */
void descriptor_limit_raise(void);

/* `wanted` for the clients' port and as many for the workers', or what the limit leaves room for,
 * which is logged; at least 1. */
int descriptor_limit_connections(int wanted);
