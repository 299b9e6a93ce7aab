/* How long a thread that could run had to wait for a core, as the kernel counts it: who else wants
 * the core does not matter, nor from which container. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct core_wait {
    int descriptor; /* of the thread's own account; -1: there is none */
    bool opened;
    bool crowded; /* a tenth of the time and more, when last looked at */
    int64_t looked_ns;
    int64_t waited_ns; /* in all, by then */
};

/* Looks again where the last time is long enough ago. Only the thread that looked first. */
void core_wait_look(struct core_wait *wait, int64_t now_ns);

/* Also where nobody ever looked. */
void core_wait_close(struct core_wait *wait);
