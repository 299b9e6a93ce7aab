/* Owns the process's log settings. Promises that a line is written whole, by one write, whatever
 * the threads do. */
#include "proto/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, REQUEST_BYTES = 64 };

static enum log_level threshold = LOG_INFO;
static int stamped_rank = -1;
static _Thread_local char request[REQUEST_BYTES];

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

void log_request(const char *request_id)
{
    snprintf(request, sizeof request, "%s", request_id ? request_id : "");
}

/* Appends to the line; keeps one byte for the newline. */
static size_t append(char *line, size_t used, const char *format, va_list arguments)
{
    size_t room = LINE_BYTES - 1 - used;
    int wanted = vsnprintf(line + used, room, format, arguments);
    if (wanted < 0)
        return used;
    return used + ((size_t)wanted < room ? (size_t)wanted : room - 1);
}

__attribute__((format(printf, 3, 4))) static size_t append_values(char *line, size_t used,
                                                                  const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    used = append(line, used, format, arguments);
    va_end(arguments);
    return used;
}

void log_line(enum log_level level, const char *event, const char *format, ...)
{
    if (level > threshold)
        return;
    char line[LINE_BYTES];
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &utc);
    used = append_values(line, used, ".%03ldZ %s event=\"%s\"", now.tv_nsec / 1000000,
                         level_names[level], event);
    if (stamped_rank >= 0)
        used = append_values(line, used, " rank=%d", stamped_rank);
    if (request[0])
        used = append_values(line, used, " request=%s", request);
    if (format[0]) {
        used = append_values(line, used, " ");
        va_list arguments;
        va_start(arguments, format);
        used = append(line, used, format, arguments);
        va_end(arguments);
    }
    line[used++] = '\n';
    /* A log that cannot be written has nowhere to say so. */
    if (write(STDERR_FILENO, line, used) < 0)
        return;
}
