/* One line an event on standard error: time, level, event, then what is told of it, stamped with
 * rank, request and batch; as key=value pairs (logfmt), or as a JSON object.
 *
 *   error  someone must act
 *   warn   degraded
 *   info   lifecycle
 *   debug  per step
 *
 * Nothing is logged per token.
 *
 * A value is a field of its own and is quoted here, so that no text of a client, a peer or a file
 * can forge a field or a line. Keys are the same in both formats, and none comes twice: an event's
 * own fields are named neither time, level, event, rank, request nor batch. No call waits for the
 * reader of standard error: what that reader does not take in time is dropped, and a line tells how
 * many lines were (log_output.h).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum log_type { LOG_TEXT, LOG_INTEGER, LOG_REAL };

struct log_field {
    const char *key; /* ours: lower snake case, with its unit */
    enum log_type type;
    int decimals; /* LOG_REAL */
    union {
        const char *text;
        int64_t integer;
        double real;
    };
};

/* Any bytes; NULL reads as "". Quoted where it is empty or holds more than plain visible ASCII;
 * what could steer a terminal or end the line is masked (printable.h). Borrowed until the line
 * is made. */
static inline struct log_field log_text(const char *key, const char *text)
{
    return (struct log_field){.key = key, .type = LOG_TEXT, .text = text};
}

static inline struct log_field log_integer(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .type = LOG_INTEGER, .integer = value};
}

static inline struct log_field log_real(const char *key, double value, int decimals)
{
    return (struct log_field){.key = key, .type = LOG_REAL, .decimals = decimals, .real = value};
}

/* Process-wide; call before threads start. `rank` < 0 leaves the stamp out. */
void log_configure(enum log_level level, int rank);

/* "error", "warn", "info", "debug". INVALID_ARGUMENT for another word. */
MUST_CHECK enum status log_level_parse(enum log_level *level, const char *word);

enum log_format { LOG_LOGFMT, LOG_JSON };

/* "logfmt", "json". INVALID_ARGUMENT for another word. */
MUST_CHECK enum status log_format_parse(enum log_format *format, const char *word);

/* Process-wide, as log_configure. At first LOG_LOGFMT. */
void log_write_as(enum log_format format);

/* Stamps this thread's following lines with request=ID, or batch=NAME; NULL or "" removes the
 * stamp. Copied. */
void log_request(const char *request_id);
void log_batch(const char *name);

/* `event` is a short lower-case word group. A text that is very long is cut off and ends in "...";
 * a field for which the line has no room is left out. */
void log_fields(enum log_level level, const char *event, const struct log_field *fields,
                size_t count);

/* log_line(LOG_INFO, "group ready", log_text("group", id), log_integer("size", size)) */
#define log_line(level, event, ...)                                                                \
    log_fields(level, event, (const struct log_field[]){__VA_ARGS__},                              \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

/* How a program that fails says so: "PROGRAM: SENTENCE", with the last sentence of fail(), behind
 * the lines that were logged before. */
void log_failure(const char *program);

/* Passes on a line of a child process, without its newline, as it is but for what could steer a
 * terminal. */
void log_relay(const char *line, size_t bytes);
