/* Owns the process's soft limit of descriptors. Promises that connections alone never use it up:
 * files, pipes and workers' processes keep their share. */
#include "coordinator/descriptor_limit.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "proto/log.h"
#include "proto/rpc/rpc_acceptor.h"

/* What else is open: the model's files, the log, pipes to workers, gRPC's own. */
enum { OTHERS = 128, A_CONNECTION = 2, PORTS = 2 };

void descriptor_limit_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        log_line(LOG_WARN, "descriptor limit unknown", log_text("cause", strerror(errno)));
        return;
    }
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_line(LOG_WARN, "descriptor limit not raised", log_integer("limit", (int64_t)before),
                 log_integer("hard", (int64_t)limit.rlim_max), log_text("cause", strerror(errno)));
    else
        log_line(LOG_INFO, "descriptor limit", log_integer("limit", (int64_t)limit.rlim_cur),
                 log_integer("before", (int64_t)before));
}

int descriptor_limit_connections(int wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return wanted;
    const rlim_t needed = OTHERS + PORTS * A_CONNECTION * ((rlim_t)wanted + RPC_ACCEPTOR_SPARE);
    if (limit.rlim_cur >= needed)
        return wanted;
    const rlim_t least = OTHERS + PORTS * A_CONNECTION * (RPC_ACCEPTOR_SPARE + 1);
    const rlim_t left = limit.rlim_cur > least ? limit.rlim_cur - least : 0;
    const int possible = 1 + (int)(left / (PORTS * A_CONNECTION));
    log_line(LOG_WARN, "fewer connections", log_integer("max", possible),
             log_integer("wanted", wanted), log_integer("descriptors", (int64_t)limit.rlim_cur),
             log_integer("needed", (int64_t)needed),
             log_text("cause", "the hard limit of descriptors (ulimit -Hn) is low"));
    return possible;
}
