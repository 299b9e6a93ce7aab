/* One line an event on standard error: time, level, room, then key=value pairs, stamped with rank
 * and request.
 *
 *   error  someone must act
 *   warn   degraded
 *   info   lifecycle
 *   debug  per step
 *
 * Nothing is logged per token.
 */
#pragma once

#include "proto/status.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Process-wide; call before threads start. `rank` < 0 leaves the stamp out. */
void log_configure(enum log_level level, int rank);

/* "error", "warn", "info", "debug". INVALID_ARGUMENT for another word. */
MUST_CHECK enum status log_level_parse(enum log_level *level, const char *word);

/* Stamps this thread's following lines with request=ID; NULL or "" removes the stamp. Copied. */
void log_request(const char *request_id);

/* `event` is a short lower-case word group; `format` makes the key=value pairs and may be "". */
void log_line(enum log_level level, const char *event, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
