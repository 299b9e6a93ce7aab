/* What an error of CUDA means: for the table of CUDA, and for what stands in for it. */
#pragma once

#include "proto/status.h"

/* `code` is a cudaError_t. OK for 0; RESOURCE_EXHAUSTED where memory is not to be had; UNAVAILABLE
 * where the device, its driver or this process's hold on it is lost: nothing that it computed
 * counts any more, and only another process may use it; INTERNAL for a wrong call. */
enum status cuda_error_status(int code);
