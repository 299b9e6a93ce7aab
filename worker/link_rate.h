/* How fast keys and values go from rank to rank: what the planner weighs stages with. */
#pragma once

#include "proto/status.h"
#include "worker/engine/transport/transport.h"

/* Every rank calls it. Bytes a second that the slowest rank sends to the next one while it receives
 * as many from the one before, the same on all ranks; 0 for one rank alone, and over NCCL, which
 * carries what lies on GPUs only. Takes the time of a few megabytes. */
MUST_CHECK enum status link_rate_measure(double *bytes_per_second, struct transport *transport);
