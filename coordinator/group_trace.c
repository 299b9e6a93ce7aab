/* Owns a rank's events. Promises that none ends before it begins, whatever the rank says. */
#include "coordinator/group_trace.h"

#include <stdlib.h>
#include <string.h>

#include "proto/boot_id.h"
#include "proto/clock.h"

/* Ranks of our own boot share our clock. Of another host's: the Run came to it and the head came
 * back about as fast, so its clock is ahead by half of what remains. */
static void take_head(struct group_trace *trace, const Longhaul__Control__V1__RunTrace *told,
                      int64_t sent_ns)
{
    char boot_id[BOOT_ID_BYTES];
    boot_id_read(boot_id);
    trace->dropped = told->dropped;
    trace->offset_ns = 0;
    if (strcmp(boot_id, told->boot_id) != 0)
        trace->offset_ns = -((told->received_ns - sent_ns) + (told->told_ns - clock_now_ns())) / 2;
}

static bool make_room(struct group_trace *trace, size_t count)
{
    if (trace->count + count > GROUP_TRACE_EVENTS_MAX)
        return false;
    if (trace->count + count <= trace->room)
        return true;
    const size_t room = 2 * (trace->count + count);
    Longhaul__V1__TraceEvent *events = reallocarray(trace->events, room, sizeof *events);
    if (!events)
        return false;
    trace->events = events;
    trace->room = room;
    return true;
}

static bool is_whole(const Longhaul__Control__V1__RunTrace *told)
{
    const size_t count = told->n_kinds;
    return told->n_layers == count && told->n_peers == count && told->n_begin_ns == count &&
           told->n_end_ns == count && told->n_counts == count;
}

/* Both number them alike, but that clients have an UNSPECIFIED before. */
static Longhaul__V1__TraceKind kind_of(int32_t told)
{
    return told >= 0 && told < LONGHAUL__V1__TRACE_KIND__TRACE_KIND_GATHER
               ? (Longhaul__V1__TraceKind)(told + 1)
               : LONGHAUL__V1__TRACE_KIND__TRACE_KIND_UNSPECIFIED;
}

void group_trace_take(struct group_trace *trace, const Longhaul__Control__V1__RunTrace *told,
                      int64_t sent_ns)
{
    if (told->n_kinds == 0 && told->received_ns) {
        take_head(trace, told, sent_ns);
        return;
    }
    if (!is_whole(told) || !make_room(trace, told->n_kinds)) {
        trace->dropped += (int64_t)told->n_kinds;
        return;
    }
    for (size_t i = 0; i < told->n_kinds; i++) {
        Longhaul__V1__TraceEvent *event = &trace->events[trace->count++];
        longhaul__v1__trace_event__init(event);
        event->kind = kind_of(told->kinds[i]);
        event->begin_ns = told->begin_ns[i] + trace->offset_ns - sent_ns;
        event->end_ns = event->begin_ns;
        if (told->end_ns[i] > told->begin_ns[i])
            event->end_ns += told->end_ns[i] - told->begin_ns[i];
        event->layer = told->layers[i];
        event->peer = told->peers[i];
        event->count = told->counts[i];
    }
}

void group_trace_free(struct group_trace *trace)
{
    free(trace->events);
    *trace = (struct group_trace){0};
}
