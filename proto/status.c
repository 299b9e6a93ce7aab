/* Owns the thread's last failure sentence. Promises that no caller ever sees a NULL, an
 * unterminated string or one that could steer a terminal. */
#include "proto/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/printable.h"

enum { MESSAGE_BYTES = 1024 };

static _Thread_local char message[MESSAGE_BYTES];

static const struct {
    enum status status;
    const char *name;
    int exit_code;
} rows[] = {
    {STATUS_OK, "OK", 0},
    {STATUS_CANCELLED, "CANCELLED", 75},
    {STATUS_INVALID_ARGUMENT, "INVALID_ARGUMENT", 65},
    {STATUS_DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", 75},
    {STATUS_NOT_FOUND, "NOT_FOUND", 66},
    {STATUS_ALREADY_EXISTS, "ALREADY_EXISTS", 69},
    {STATUS_PERMISSION_DENIED, "PERMISSION_DENIED", 77},
    {STATUS_RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", 69},
    {STATUS_FAILED_PRECONDITION, "FAILED_PRECONDITION", 78},
    {STATUS_OUT_OF_RANGE, "OUT_OF_RANGE", 65},
    {STATUS_UNIMPLEMENTED, "UNIMPLEMENTED", 65},
    {STATUS_INTERNAL, "INTERNAL", 70},
    {STATUS_UNAVAILABLE, "UNAVAILABLE", 69},
    {STATUS_DATA_LOSS, "DATA_LOSS", 65},
    {STATUS_UNAUTHENTICATED, "UNAUTHENTICATED", 77},
    {STATUS_IO, "IO", 74},
};

const char *status_name(enum status status)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return rows[i].name;
    return "UNKNOWN";
}

int status_exit_code(enum status status)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return rows[i].exit_code;
    return 70;
}

enum status fail(enum status status, const char *format, ...)
{
    /* Worded into a second buffer first: an argument may be the last sentence itself. */
    char next[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(next, sizeof next, format, arguments);
    va_end(arguments);
    printable_mask_line(next, strlen(next));
    memcpy(message, next, sizeof message);
    return status;
}

const char *status_message(void)
{
    return message;
}
