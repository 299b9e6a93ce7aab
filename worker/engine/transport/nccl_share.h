/* Several NCCL ranks on one GPU, which NCCL refuses unless each looks like a host of its own: for
 * tests of correctness. Each rank's contexts take turns on the device, so timings mean nothing.
 */
#pragma once

#include "proto/status.h"

/* Sets NCCL's environment for this process, before NCCL is loaded; what the user has set stays.
 * `name` is the rank's own among those of the machine. */
MUST_CHECK enum status nccl_share_device(const char *name);
