/* Finds CUDA on this machine: a driver, at least one device, cuBLASLt, and kernels in this program.
 */
#pragma once

#include "proto/status.h"
#include "worker/engine/device/cuda_runtime.h"

/* Whether the program was built with CUDA (cuda_runtime.c) or without (cuda_absent.c). */
bool cuda_find_built(void);

/* The real tables. FAILED_PRECONDITION names what is missing; nothing is touched on a machine
 * without a driver. */
MUST_CHECK enum status cuda_find(const struct cuda_runtime **runtime,
                                 const struct kernels_cuda **kernels);
