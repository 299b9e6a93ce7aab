/* Owns a thread's view of its own account with the scheduler. Promises to cost a microsecond in 20
 * ms, and to find no core crowded where the kernel keeps no account. */
#include "worker/engine/transport/core_wait.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { PERIOD_NS = 20000000, CROWDED_PART = 10 };

/* -1: not known. */
static int64_t read_waited_ns(int descriptor)
{
    char text[128];
    const ssize_t bytes = pread(descriptor, text, sizeof text - 1, 0);
    long long ran_ns, waited_ns;
    if (bytes <= 0)
        return -1;
    text[bytes] = '\0';
    return sscanf(text, "%lld %lld", &ran_ns, &waited_ns) == 2 ? waited_ns : -1;
}

void core_wait_look(struct core_wait *wait, int64_t now_ns)
{
    if (wait->opened && (wait->descriptor < 0 || now_ns - wait->looked_ns < PERIOD_NS))
        return;
    if (!wait->opened)
        wait->descriptor = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    const int64_t waited_ns = wait->descriptor < 0 ? -1 : read_waited_ns(wait->descriptor);
    wait->crowded = wait->opened && waited_ns >= 0 &&
                    (waited_ns - wait->waited_ns) * CROWDED_PART >= now_ns - wait->looked_ns;
    wait->opened = true;
    wait->looked_ns = now_ns;
    wait->waited_ns = waited_ns;
}

void core_wait_close(struct core_wait *wait)
{
    if (wait->opened && wait->descriptor >= 0)
        close(wait->descriptor);
    *wait = (struct core_wait){.descriptor = -1};
}
