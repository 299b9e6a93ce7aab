/* What this process takes and what the host has left, as the kernel tells it. */
#pragma once

#include <stdint.h>

/* Anonymous bytes of this process that are in memory now, shared ones of its own counted; 0 when
 * not to be had. */
int64_t process_memory_anonymous(void);

/* Bytes that new work may take on this host without swapping; 0 when not to be had. */
int64_t process_memory_available(void);
