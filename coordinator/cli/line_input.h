/* Standard input, line by line, read so that Ctrl-C and SIGTERM are seen while nothing comes. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

/* {0} before the first line. */
struct line_input {
    char *bytes; /* [used]: what has come after the last line that was given out */
    size_t used, room;
    bool ended;
};

void line_input_deinit(struct line_input *input);

/* The next line without its newline, 0-terminated, which the caller frees; NULL at the end.
 * CANCELLED after an interrupt; IO where standard input cannot be read; INVALID_ARGUMENT for a line
 * that is no UTF-8 or holds a NUL, which is then skipped. */
MUST_CHECK enum status line_input_read(struct line_input *input, char **line);
