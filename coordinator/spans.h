/* Requests as spans of OpenTelemetry: each request that ends adds a line to a file, an
 * ExportTraceServiceRequest in OTLP's JSON, which a collector's file receiver reads. A span for the
 * whole request, the child of the caller's (W3C traceparent), and below it one for its wait, its
 * prefill and its decode. No text of a client is in it but the request's id.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/errand_course.h"
#include "proto/status.h"

struct spans;

/* Appends to the file from then on, which is made where it is missing. IO where it cannot be. */
MUST_CHECK enum status spans_open(struct spans **spans, const char *path);

/* NULL is accepted. */
void spans_close(struct spans *spans);

/* Where the caller's span is, in hexadecimal. */
struct spans_parent {
    bool given;
    bool unsampled; /* the caller keeps nothing of this trace: neither do we */
    char trace[33];
    char span[17];
};

/* Reads a traceparent; what is none, or of a version that we do not know how to read, is as if it
 * were not there. `text` may be NULL. */
void spans_parent_read(struct spans_parent *parent, const char *text, size_t bytes);

struct spans_request {
    const struct spans_parent *parent;
    const struct errand_course *course; /* which has ended */
    const char *request_id;
    enum status status;
    const char *sentence; /* where the status is not OK */
};

/* From any thread. A line that cannot be written is counted (longhaul_spans_dropped), and the next
 * one is tried. `spans` may be NULL. */
void spans_tell(struct spans *spans, const struct spans_request *request);
