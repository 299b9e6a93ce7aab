/* Owns the file. Promises that a line is whole: it is written by one call, behind what is there. */
#include "coordinator/spans.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/json_writer.h"
#include "proto/log.h"
#include "proto/metrics.h"

/* OpenTelemetry's conventions for generative models are still in development: all names that
 * follow them stand here. */
static const struct {
    const char *service, *operation, *request_id, *input_tokens, *output_tokens, *cached_tokens,
        *finish, *generate, *score, *queue, *prefill, *decode;
} names = {
    .service = "service.name",
    .operation = "gen_ai.operation.name",
    .request_id = "longhaul.request_id",
    .input_tokens = "gen_ai.usage.input_tokens",
    .output_tokens = "gen_ai.usage.output_tokens",
    .cached_tokens = "longhaul.usage.cached_tokens",
    .finish = "gen_ai.response.finish_reasons",
    .generate = "text_completion",
    .score = "score",
    .queue = "queue",
    .prefill = "prefill",
    .decode = "decode",
};

/* As OTLP numbers them. */
enum kind { KIND_INTERNAL = 1, KIND_SERVER = 2 };
enum code { CODE_OK = 1, CODE_ERROR = 2 };

enum { TRACE_BYTES = 16, SPAN_BYTES = 8, TRACEPARENT_BYTES = 55, WARN_MS = 60000 };

struct spans {
    int file;
    char *path;
    pthread_mutex_t lock;
    int64_t warned_ns; /* when the log last said that a line was lost */
};

static struct metrics_family dropped = {.name = "longhaul_spans_dropped",
                                        .help = "Requests whose spans could not be written.",
                                        .type = METRICS_COUNTER};

enum status spans_open(struct spans **spans, const char *path)
{
    struct spans *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for spans");
    s->path = strdup(path);
    s->file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (s->file < 0 || !s->path) {
        const enum status status = fail(STATUS_IO, "--otlp-file %s: %s", path, strerror(errno));
        free(s->path);
        free(s);
        return status;
    }
    pthread_mutex_init(&s->lock, NULL);
    metrics_offer(&dropped);
    *spans = s;
    return STATUS_OK;
}

void spans_close(struct spans *spans)
{
    if (!spans)
        return;
    close(spans->file);
    pthread_mutex_destroy(&spans->lock);
    free(spans->path);
    free(spans);
}

/* ---- the caller's span ---- */

/* Lower-case hexadecimal and not all zero. */
static bool take_hex(char *to, const char *from, size_t digits)
{
    memcpy(to, from, digits);
    to[digits] = 0;
    return strspn(to, "0123456789abcdef") == digits && strspn(to, "0") < digits;
}

/* "00-" trace "-" span "-" flags; a later version may have more behind another "-". */
void spans_parent_read(struct spans_parent *parent, const char *text, size_t bytes)
{
    char version[3], flags[3];
    *parent = (struct spans_parent){0};
    if (!text || bytes < TRACEPARENT_BYTES || text[2] != '-' || text[35] != '-' || text[52] != '-')
        return;
    memcpy(flags, text + 53, 2);
    memcpy(version, text, 2);
    flags[2] = version[2] = 0;
    const bool first = strcmp(version, "00") == 0;
    if (strspn(flags, "0123456789abcdef") != 2 || strspn(version, "0123456789abcdef") != 2 ||
        strcmp(version, "ff") == 0 || (first && bytes != TRACEPARENT_BYTES) ||
        (bytes > TRACEPARENT_BYTES && text[TRACEPARENT_BYTES] != '-'))
        return;
    parent->given = take_hex(parent->trace, text + 3, 2 * TRACE_BYTES) &&
                    take_hex(parent->span, text + 36, 2 * SPAN_BYTES);
    parent->unsampled = parent->given && strtol(flags, NULL, 16) % 2 == 0;
}

/* ---- a line ---- */

static void draw_id(char *hex, int bytes)
{
    unsigned char drawn[TRACE_BYTES] = {0};
    if (getrandom(drawn, (size_t)bytes, 0) != bytes)
        drawn[0] = 1; /* none is all zero */
    for (int i = 0; i < bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", drawn[i]);
}

/* OTLP writes 64-bit numbers as texts. */
static void write_time(struct json_writer *json, const char *key, int64_t ns)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, ns);
    json_writer_text(json, key, text);
}

static void write_text(struct json_writer *json, const char *key, const char *text)
{
    json_writer_begin_object(json, NULL);
    json_writer_text(json, "key", key);
    json_writer_begin_object(json, "value");
    json_writer_text(json, "stringValue", text);
    json_writer_end_object(json);
    json_writer_end_object(json);
}

static void write_count(struct json_writer *json, const char *key, int64_t count)
{
    json_writer_begin_object(json, NULL);
    json_writer_text(json, "key", key);
    json_writer_begin_object(json, "value");
    write_time(json, "intValue", count);
    json_writer_end_object(json);
    json_writer_end_object(json);
}

struct span {
    const char *name, *trace, *parent;
    enum kind kind;
    int64_t begin_ns, end_ns; /* since 1970 */
    char id[2 * SPAN_BYTES + 1];
};

static void begin_span(struct json_writer *json, struct span *span)
{
    draw_id(span->id, SPAN_BYTES);
    json_writer_begin_object(json, NULL);
    json_writer_text(json, "traceId", span->trace);
    json_writer_text(json, "spanId", span->id);
    if (span->parent[0])
        json_writer_text(json, "parentSpanId", span->parent);
    json_writer_text(json, "name", span->name);
    json_writer_integer(json, "kind", span->kind);
    write_time(json, "startTimeUnixNano", span->begin_ns);
    write_time(json, "endTimeUnixNano", span->end_ns);
}

static void write_request(struct json_writer *json, struct span *span,
                          const struct spans_request *request)
{
    const struct errand_course *course = request->course;
    begin_span(json, span);
    json_writer_begin_array(json, "attributes");
    write_text(json, names.operation, span->name);
    write_text(json, names.request_id, request->request_id);
    write_text(json, names.finish, errand_course_outcome_word(course, request->status));
    write_count(json, names.input_tokens, course->prompt_tokens);
    write_count(json, names.output_tokens, course->completion_tokens);
    write_count(json, names.cached_tokens, course->cached_tokens);
    json_writer_end_array(json);
    json_writer_begin_object(json, "status");
    json_writer_integer(json, "code", request->status == STATUS_OK ? CODE_OK : CODE_ERROR);
    if (request->status != STATUS_OK)
        json_writer_text(json, "message", request->sentence);
    json_writer_end_object(json);
    json_writer_end_object(json);
}

static int64_t at_most(int64_t value, int64_t most)
{
    return value < most ? value : most;
}

/* The wait, the prefill and the decode, as far as the request came. */
static void write_parts(struct json_writer *json, const struct span *whole,
                        const struct errand_course *course, int64_t offset_ns)
{
    const int64_t placed_ns = course->placed_ns ? course->placed_ns : course->ended_ns;
    int64_t read_ns = placed_ns + (int64_t)(course->prefill_seconds * 1e9);
    if (course->prefill_seconds <= 0) /* the ranks never told */
        read_ns = course->first_ns ? course->first_ns : course->ended_ns;
    read_ns = at_most(read_ns, course->ended_ns);
    const struct {
        const char *name;
        int64_t begin_ns, end_ns;
        bool there;
    } parts[] = {
        {names.queue, course->begun_ns, placed_ns, true},
        {names.prefill, placed_ns, read_ns, course->placed_ns != 0},
        {names.decode, read_ns, course->ended_ns, course->first_ns != 0},
    };
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        struct span span = {.name = parts[p].name,
                            .trace = whole->trace,
                            .parent = whole->id,
                            .kind = KIND_INTERNAL,
                            .begin_ns = parts[p].begin_ns + offset_ns,
                            .end_ns = parts[p].end_ns + offset_ns};
        if (!parts[p].there)
            continue;
        begin_span(json, &span);
        json_writer_end_object(json);
    }
}

static void write_line(FILE *out, const struct spans_request *request)
{
    const struct errand_course *course = request->course;
    struct json_writer json = {.file = out};
    char trace[2 * TRACE_BYTES + 1];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    const int64_t offset_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec - clock_now_ns();
    if (!request->parent->given)
        draw_id(trace, TRACE_BYTES);
    struct span whole = {.name = course->is_score ? names.score : names.generate,
                         .trace = request->parent->given ? request->parent->trace : trace,
                         .parent = request->parent->given ? request->parent->span : "",
                         .kind = KIND_SERVER,
                         .begin_ns = course->begun_ns + offset_ns,
                         .end_ns = course->ended_ns + offset_ns};
    json_writer_begin_object(&json, NULL);
    json_writer_begin_array(&json, "resourceSpans");
    json_writer_begin_object(&json, NULL);
    json_writer_begin_object(&json, "resource");
    json_writer_begin_array(&json, "attributes");
    write_text(&json, names.service, "longhaul-coordinator");
    json_writer_end_array(&json);
    json_writer_end_object(&json);
    json_writer_begin_array(&json, "scopeSpans");
    json_writer_begin_object(&json, NULL);
    json_writer_begin_object(&json, "scope");
    json_writer_text(&json, "name", "longhaul");
    json_writer_text(&json, "version", LONGHAUL_VERSION);
    json_writer_end_object(&json);
    json_writer_begin_array(&json, "spans");
    write_request(&json, &whole, request);
    write_parts(&json, &whole, course, offset_ns);
    json_writer_end_array(&json);
    json_writer_end_object(&json);
    json_writer_end_array(&json);
    json_writer_end_object(&json);
    json_writer_end_array(&json);
    json_writer_end_object(&json);
}

static void note_loss(struct spans *spans, int error)
{
    metrics_add(&dropped, 1);
    pthread_mutex_lock(&spans->lock);
    const bool warns =
        !spans->warned_ns || clock_now_ns() > spans->warned_ns + WARN_MS * INT64_C(1000000);
    if (warns)
        spans->warned_ns = clock_now_ns();
    pthread_mutex_unlock(&spans->lock);
    if (warns)
        log_line(LOG_WARN, "spans lost", log_text("file", spans->path),
                 log_text("cause", strerror(error)));
}

void spans_tell(struct spans *spans, const struct spans_request *request)
{
    if (!spans || request->parent->unsampled)
        return;
    char *line = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&line, &bytes);
    if (out) {
        write_line(out, request);
        fputc('\n', out);
        fclose(out);
    }
    /* With O_APPEND, one write is one line, whoever else writes. */
    const ssize_t written = line ? write(spans->file, line, bytes) : -1;
    if (written != (ssize_t)bytes)
        note_loss(spans, written < 0 ? errno : ENOSPC);
    free(line);
}
