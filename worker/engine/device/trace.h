/* What a rank did for one request, and when: spans that engine, ring and forward pass note in a
 * buffer of fixed size, where one is there. Without one a note costs a comparison. Used from the
 * rank's own thread.
 *
 * Spans of TRACE_RUN, TRACE_ATTEND, TRACE_WAIT and TRACE_GATHER follow one another; they lie within
 * those of TRACE_STAGE and TRACE_STEP. TRACE_EXCHANGE spans overlap all others. The lengths of the
 * waits and of the exchanges are the ones of engine_result, to the nanosecond. On a GPU a run is as
 * long as it took to put it on the stream.
 */
#pragma once

#include <stdint.h>

#include "proto/clock.h"
#include "proto/status.h"

enum trace_kind {
    TRACE_STAGE,    /* a stage of the prompt; count: its tokens */
    TRACE_STEP,     /* a step of answers, others' too, of which nothing is told; count: 0 */
    TRACE_RUN,      /* consecutive ops, up to a layer's attention or exchange; count: ops */
    TRACE_ATTEND,   /* tiles of queries over some extents of keys; count: extents */
    TRACE_WAIT,     /* compute stands still for a block of keys; peer: who sends it */
    TRACE_EXCHANGE, /* a block, wanted to there; peer: who sends it; count: its bytes */
    TRACE_GATHER    /* all ranks' states or outputs are put together; count: 0 */
};

struct trace_event {
    int64_t begin_ns, end_ns; /* of the monotonic clock */
    int32_t kind;             /* enum trace_kind */
    int32_t layer;            /* -1: of none */
    int32_t peer;             /* -1: nobody */
    int64_t count;
};

enum { TRACE_EVENTS_MAX = 1 << 16 };

struct trace {
    struct trace_event *events; /* [count] of [TRACE_EVENTS_MAX] */
    int64_t count;
    int64_t dropped;     /* for which there was no room */
    int64_t received_ns; /* when the rank was told of the request */
};

/* `trace` may be NULL here and below: then nothing is noted. */
static inline int64_t trace_now(const struct trace *trace)
{
    return trace ? clock_now_ns() : 0;
}

static inline void trace_note(struct trace *trace, const struct trace_event *event)
{
    if (!trace)
        return;
    if (trace->count < TRACE_EVENTS_MAX)
        trace->events[trace->count++] = *event;
    else
        trace->dropped++;
}

/* A span from then until now, of nobody else. */
static inline void trace_span(struct trace *trace, enum trace_kind kind, int layer,
                              int64_t begin_ns, int64_t count)
{
    if (trace)
        trace_note(trace, &(struct trace_event){begin_ns, clock_now_ns(), kind, layer, -1, count});
}
