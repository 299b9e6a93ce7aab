/* The host's transport between processes that a test forks, where there is no MPI: everything goes
 * through memory that was mapped before the fork. */
#pragma once

#include "worker/engine/transport/transport.h"

/* Maps the memory of a group of `size` ranks; before the fork. NULL where there is none. */
void *forked_transport_map(int size);

/* In the process of `rank`. `options` may be NULL. */
MUST_CHECK enum status forked_transport_create(struct transport **t, void *memory, int rank,
                                               int size, const struct transport_options *options);
