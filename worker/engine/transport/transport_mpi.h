/* The transport between processes. Owns MPI: initialises it on create, finalises it on destroy, and
 * all its calls come from the creating thread. One per process. */
#pragma once

#include "worker/engine/transport/transport.h"

/* `options` may be NULL. */
MUST_CHECK enum status transport_mpi_create(struct transport **t,
                                            const struct transport_options *options);
