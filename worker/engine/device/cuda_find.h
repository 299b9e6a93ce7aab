/* Finds CUDA on this machine: a driver, at least one device, cuBLASLt, and kernels in this
 * program. */
#pragma once

#include "proto/status.h"
#include "worker/engine/device/cuda_runtime.h"

/* Whether the program was built with CUDA (cuda_runtime.c) or without (cuda_absent.c). */
bool cuda_find_built(void);

/* Has kernels loaded when the device is opened, and not when they are first launched: loading may
 * wait for the device, which may be at an exchange that waits for a peer. For the start of main,
 * before any call of CUDA and before there are threads; what the user has set stays. */
MUST_CHECK enum status cuda_find_load_eagerly(void);

/* The real tables. FAILED_PRECONDITION names what is missing; nothing is touched on a machine
 * without a driver. */
MUST_CHECK enum status cuda_find(const struct cuda_runtime **runtime,
                                 const struct kernels_cuda **kernels);
