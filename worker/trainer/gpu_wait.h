/* The trainer's wait for a GPU, which drives the transport meanwhile. */
#pragma once

#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/transport.h"

/* Until all that is on the compute stream is done. UNAVAILABLE after 300 s. */
MUST_CHECK enum status gpu_wait(const struct cuda_streams *streams, struct transport *transport);
