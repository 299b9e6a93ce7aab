/* What the ranks of a run did when, as they tell it (control.proto, RunTrace), by one clock. */
#pragma once

#include <stdint.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"

/* A rank tells no more; what comes beyond is dropped. */
enum { GROUP_TRACE_EVENTS_MAX = 1 << 16, GROUP_TRACE_TOLD_MAX = 4096 };

/* One rank's. All zero, there is nothing of it. */
struct group_trace {
    Longhaul__V1__TraceEvent *events; /* [count] of [room] */
    size_t count, room;
    int64_t dropped;
    int64_t offset_ns; /* from the rank's clock to ours */
};

/* `sent_ns`: when the Run went out, by our clock, which is 0 for the events that are kept. Without
 * memory for them they count as dropped. */
void group_trace_take(struct group_trace *trace, const Longhaul__Control__V1__RunTrace *told,
                      int64_t sent_ns);

void group_trace_free(struct group_trace *trace);
