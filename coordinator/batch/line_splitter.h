/* Cuts a stream of bytes into lines, with memory for one line. Empty lines do not count; the last
 * one needs no line feed; a carriage return at a line's end is not part of it. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct line_splitter {
    char *text; /* [room], the line that has begun */
    size_t bytes, room, line_bytes_max;
    int64_t number; /* lines that have ended */
    int64_t offset; /* of the line that has begun */
    int64_t passed; /* bytes of it so far */
};

/* One line: its text, ending in a 0 that does not count, lives during the call. `bytes` of a line
 * that is longer than may be are line_bytes_max + 1, and the rest is left out. */
struct split_line {
    const char *text;
    size_t bytes;
    int64_t number;       /* from 1 */
    int64_t offset;       /* of its first byte */
    int64_t stream_bytes; /* that it takes of the stream, without its line feed */
};

/* A failure ends the splitting with it. */
typedef enum status line_splitter_take(void *context, const struct split_line *line);

/* Begins with line `number` + 1 at `offset`. */
void line_splitter_init(struct line_splitter *splitter, size_t line_bytes_max, int64_t number,
                        int64_t offset);
void line_splitter_deinit(struct line_splitter *splitter);

MUST_CHECK enum status line_splitter_feed(struct line_splitter *splitter, const void *bytes,
                                          size_t count, line_splitter_take *take, void *context);

/* The end of the stream: what has begun is a line. */
MUST_CHECK enum status line_splitter_end(struct line_splitter *splitter, line_splitter_take *take,
                                         void *context);
