/* Owns the process's log settings and the form of a line. Promises that a line is whole, whatever
 * the threads do, and that no value can be taken for a field or a line of ours. */
#include "proto/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/log_output.h"
#include "proto/printable.h"

enum {
    LINE_BYTES = LOG_OUTPUT_LINE_BYTES,
    TEXT_BYTES = 1024, /* of a value, before it is quoted: as long as a sentence of fail() */
    REQUEST_BYTES = 64,
    KEY_BYTES = 64,
    END_BYTES = 2, /* of a line: a brace and a newline */
};

static enum log_level threshold = LOG_INFO;
static int stamped_rank = -1;
static enum log_format written_as = LOG_LOGFMT;
static _Thread_local char request[REQUEST_BYTES], batch[REQUEST_BYTES];

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_configure(enum log_level level, int rank)
{
    threshold = level;
    stamped_rank = rank;
}

enum status log_level_parse(enum log_level *level, const char *word)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(word, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return STATUS_OK;
        }
    }
    return fail(STATUS_INVALID_ARGUMENT, "log level \"%s\" is none of error, warn, info, debug",
                word);
}

enum status log_format_parse(enum log_format *format, const char *word)
{
    if (strcmp(word, "logfmt") != 0 && strcmp(word, "json") != 0)
        return fail(STATUS_INVALID_ARGUMENT, "log format \"%s\" is neither logfmt nor json", word);
    *format = word[0] == 'j' ? LOG_JSON : LOG_LOGFMT;
    return STATUS_OK;
}

void log_write_as(enum log_format format)
{
    written_as = format;
}

void log_batch(const char *name)
{
    snprintf(batch, sizeof batch, "%s", name ? name : "");
}

void log_request(const char *request_id)
{
    snprintf(request, sizeof request, "%s", request_id ? request_id : "");
}

/* ---- a line; its last bytes are kept for its end ---- */

struct line {
    char text[LINE_BYTES];
    size_t used;
};

/* All or nothing. */
static bool append(struct line *line, const char *text, size_t bytes)
{
    if (bytes > LINE_BYTES - END_BYTES - line->used)
        return false;
    memcpy(line->text + line->used, text, bytes);
    line->used += bytes;
    return true;
}

/* Whether the text can stand without quotation marks. */
static bool is_plain(const char *text)
{
    for (const char *at = text; *at; at++)
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '=' || *at == '\\')
            return false;
    return text[0] != 0;
}

/* In quotation marks. What needs more of an escape in JSON is masked or replaced already. */
static bool append_quoted(struct line *line, const char *shown)
{
    bool fits = append(line, "\"", 1);
    for (const char *at = shown; *at && fits; at++)
        fits = (*at != '"' && *at != '\\') || append(line, "\\", 1) ? append(line, at, 1) : false;
    return fits && append(line, "\"", 1);
}

static bool append_text(struct line *line, const char *text)
{
    static const char cut[] = "...";
    char shown[TEXT_BYTES + sizeof cut];
    size_t bytes = strnlen(text, TEXT_BYTES);
    memcpy(shown, text, bytes);
    printable_mask_line(shown, bytes);
    memcpy(shown + bytes, cut, sizeof cut);
    if (!text[bytes])
        shown[bytes] = 0;
    if (written_as == LOG_LOGFMT && is_plain(shown))
        return append(line, shown, strlen(shown));
    return append_quoted(line, shown);
}

static bool append_real(struct line *line, double real, int decimals)
{
    char number[64];
    if (!isfinite(real) && written_as == LOG_JSON)
        return append(line, "null", 4);
    if (real > -1e15 && real < 1e15)
        snprintf(number, sizeof number, "%.*f", decimals, real);
    else /* %f would need up to 310 digits */
        snprintf(number, sizeof number, "%g", real);
    return append(line, number, strlen(number));
}

static bool append_value(struct line *line, const struct log_field *field)
{
    char number[64];
    switch (field->type) {
    case LOG_INTEGER:
        snprintf(number, sizeof number, "%" PRId64, field->integer);
        return append(line, number, strlen(number));
    case LOG_REAL:
        return append_real(line, field->real, field->decimals);
    default:
        return append_text(line, field->text ? field->text : "");
    }
}

static void append_field(struct line *line, struct log_field field)
{
    const size_t before = line->used;
    char key[KEY_BYTES];
    const int bytes =
        snprintf(key, sizeof key, written_as == LOG_JSON ? ",\"%s\":" : " %s=", field.key);
    if (bytes >= KEY_BYTES || !append(line, key, (size_t)bytes) || !append_value(line, &field))
        line->used = before;
}

static void begin(struct line *line, enum log_level level, const char *event)
{
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    const bool json = written_as == LOG_JSON;
    line->used = strftime(line->text, sizeof line->text,
                          json ? "{\"time\":\"%Y-%m-%dT%H:%M:%S" : "%Y-%m-%dT%H:%M:%S", &utc);
    line->used += (size_t)snprintf(line->text + line->used, sizeof line->text - line->used,
                                   json ? ".%03ldZ\",\"level\":\"%s\"" : ".%03ldZ %s",
                                   now.tv_nsec / 1000000, level_names[level]);
    append_field(line, log_text("event", event));
    if (stamped_rank >= 0)
        append_field(line, log_integer("rank", stamped_rank));
    if (request[0])
        append_field(line, log_text("request", request));
    if (batch[0])
        append_field(line, log_text("batch", batch));
}

static void end(struct line *line)
{
    if (written_as == LOG_JSON)
        line->text[line->used++] = '}';
    line->text[line->used++] = '\n';
}

/* ---- what goes out ---- */

static size_t drop_notice(char text[LINE_BYTES], int64_t dropped)
{
    struct line line;
    begin(&line, LOG_WARN, "log lines dropped");
    append_field(&line, log_integer("count", dropped));
    append_field(&line, log_text("cause", "standard error did not take them"));
    end(&line);
    memcpy(text, line.text, line.used);
    return line.used;
}

static void put(struct line *line)
{
    end(line);
    log_output_put(line->text, line->used, drop_notice);
}

void log_fields(enum log_level level, const char *event, const struct log_field *fields,
                size_t count)
{
    if (level > threshold)
        return;
    struct line line;
    begin(&line, level, event);
    for (size_t i = 0; i < count; i++)
        append_field(&line, fields[i]);
    put(&line);
}

/* A line that is no event's: in JSON, one all the same. */
static void put_plain(enum log_level level, const char *event, const char *key, const char *text)
{
    struct line line;
    if (written_as == LOG_JSON) {
        begin(&line, level, event);
        append_field(&line, log_text(key, text));
        put(&line);
        return;
    }
    const size_t bytes = strnlen(text, LINE_BYTES - 1);
    memcpy(line.text, text, bytes);
    line.used = bytes;
    put(&line);
}

void log_failure(const char *program)
{
    char text[LINE_BYTES];
    snprintf(text, sizeof text, "%.256s: %s", program, status_message());
    put_plain(LOG_ERROR, "failed", "cause", text);
}

void log_relay(const char *text, size_t bytes)
{
    char shown[LINE_BYTES];
    size_t used = bytes < LINE_BYTES - 1 ? bytes : LINE_BYTES - 1;
    memcpy(shown, text, used);
    shown[used] = 0;
    printable_mask_line(shown, used);
    if (written_as == LOG_JSON && used > 1 && shown[0] == '{' && shown[used - 1] == '}') {
        shown[used++] = '\n'; /* a worker's own line */
        log_output_put(shown, used, drop_notice);
        return;
    }
    put_plain(LOG_INFO, "worker says", "text", shown);
}
