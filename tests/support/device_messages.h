/* A transport whose messages and gathers take the way over the device: so that the cases of the
 * transports' contract, which know memory of the host only, check a transport of device memory. */
#pragma once

#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/transport.h"

/* Takes `inner`. `streams` is borrowed. */
MUST_CHECK enum status device_messages_create(struct transport **transport, struct transport *inner,
                                              const struct cuda_streams *streams);
