/* Owns nothing but the file that is being written. */
#include "coordinator/cli/trace_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "proto/json_writer.h"

enum { TRACK = 1 };

static const char *name_of(Longhaul__V1__TraceKind kind)
{
    switch (kind) {
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_STAGE:
        return "stage";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_STEP:
        return "step";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_RUN:
        return "run";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_ATTEND:
        return "attend";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_WAIT:
        return "wait";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_EXCHANGE:
        return "exchange";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_GATHER:
        return "gather";
    default:
        return "other"; /* of a newer coordinator */
    }
}

/* What `count` counts; NULL: nothing. */
static const char *counted_of(Longhaul__V1__TraceKind kind)
{
    switch (kind) {
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_STAGE:
        return "tokens";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_RUN:
        return "ops";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_ATTEND:
        return "extents";
    case LONGHAUL__V1__TRACE_KIND__TRACE_KIND_EXCHANGE:
        return "bytes";
    default:
        return NULL;
    }
}

/* The format counts microseconds, with a fraction. */
static void write_us(struct json_writer *json, const char *key, int64_t ns)
{
    char text[32];
    const int bytes = snprintf(text, sizeof text, "%s%" PRId64 ".%03d", ns < 0 ? "-" : "",
                               (ns < 0 ? -ns : ns) / 1000, (int)((ns < 0 ? -ns : ns) % 1000));
    json_writer_raw(json, key, text, (size_t)bytes);
}

static void begin_event(struct json_writer *json, const char *phase, const char *name, int rank)
{
    json_writer_begin_object(json, NULL);
    json_writer_text(json, "ph", phase);
    json_writer_text(json, "name", name);
    json_writer_integer(json, "pid", rank);
    json_writer_integer(json, "tid", TRACK);
}

static void write_arguments(struct json_writer *json, const Longhaul__V1__TraceEvent *event)
{
    json_writer_begin_object(json, "args");
    if (event->layer >= 0)
        json_writer_integer(json, "layer", event->layer);
    if (event->peer >= 0)
        json_writer_integer(json, "from_rank", event->peer);
    if (counted_of(event->kind))
        json_writer_integer(json, counted_of(event->kind), event->count);
    json_writer_end_object(json);
}

/* An exchange overlaps others: it begins and ends apart, by a number of its own. */
static void write_exchange(struct json_writer *json, int rank, int64_t number,
                           const Longhaul__V1__TraceEvent *event)
{
    for (int end = 0; end < 2; end++) {
        begin_event(json, end ? "e" : "b", name_of(event->kind), rank);
        json_writer_text(json, "cat", "exchange");
        json_writer_integer(json, "id", number);
        write_us(json, "ts", end ? event->end_ns : event->begin_ns);
        if (!end)
            write_arguments(json, event);
        json_writer_end_object(json);
    }
}

static void write_span(struct json_writer *json, int rank, const Longhaul__V1__TraceEvent *event)
{
    begin_event(json, "X", name_of(event->kind), rank);
    json_writer_text(json, "cat", "rank");
    write_us(json, "ts", event->begin_ns);
    write_us(json, "dur", event->end_ns - event->begin_ns);
    write_arguments(json, event);
    json_writer_end_object(json);
}

static void write_name(struct json_writer *json, int rank)
{
    char name[32];
    snprintf(name, sizeof name, "rank %d", rank);
    begin_event(json, "M", "process_name", rank);
    json_writer_begin_object(json, "args");
    json_writer_text(json, "name", name);
    json_writer_end_object(json);
    json_writer_end_object(json);
}

enum status trace_file_open(FILE **file, const char *path)
{
    *file = fopen(path, "we");
    return *file ? STATUS_OK : fail(STATUS_IO, "--trace %s: %s", path, strerror(errno));
}

enum status trace_file_write(FILE *file, const char *path, Longhaul__V1__RankTrace *const *parts,
                             size_t count)
{
    struct json_writer json = {.file = file};
    int64_t dropped = 0, exchanges = 0;
    json_writer_begin_object(&json, NULL);
    json_writer_text(&json, "displayTimeUnit", "ms");
    json_writer_begin_array(&json, "traceEvents");
    for (size_t p = 0; p < count; p++) {
        const int rank = parts[p]->rank;
        const bool first = p == 0 || parts[p - 1]->rank != rank;
        if (first)
            write_name(&json, rank);
        dropped += first ? parts[p]->dropped : 0;
        for (size_t e = 0; e < parts[p]->n_events; e++) {
            const Longhaul__V1__TraceEvent *event = parts[p]->events[e];
            if (event->kind == LONGHAUL__V1__TRACE_KIND__TRACE_KIND_EXCHANGE)
                write_exchange(&json, rank, ++exchanges, event);
            else
                write_span(&json, rank, event);
        }
    }
    json_writer_end_array(&json);
    json_writer_begin_object(&json, "otherData");
    json_writer_text(&json, "version", LONGHAUL_VERSION);
    json_writer_integer(&json, "events_dropped", dropped);
    json_writer_end_object(&json);
    json_writer_end_object(&json);
    fputc('\n', file);
    const bool failed = ferror(file) != 0;
    if (fclose(file) != 0 || failed)
        return fail(STATUS_IO, "--trace %s: %s", path, strerror(errno));
    return STATUS_OK;
}
