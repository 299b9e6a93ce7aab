/* What this process and its host have used so far, as the kernel counts it: a difference of two
 * tells what a request took. */
#pragma once

#include <stdint.h>

#include "worker/engine/transport/transport.h"

struct process_usage {
    double cpu_seconds;                               /* of all threads, in user and kernel mode */
    int64_t voluntary_switches, involuntary_switches; /* of all threads */
    double wait_seconds;                              /* of the computing thread, for other ranks */
    double host_cpu_seconds; /* of everything on the host, time stolen by other guests counted; 0:
                                not known */
};

struct process_usage process_usage_now(const struct transport *transport);

/* What has been added since `begin`. */
struct process_usage process_usage_since(const struct process_usage *begin,
                                         const struct transport *transport);
