/* The code that a worker's process leaves with. */
#pragma once

#include "proto/status.h"

/* 75, "another start may help", where a peer, the coordinator or the GPU is lost; else as any
 * program's. */
static inline int worker_exit_code(enum status status)
{
    return status == STATUS_UNAVAILABLE ? 75 : status_exit_code(status);
}
