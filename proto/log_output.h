/* The way of lines to standard error, which waits for nobody: a thread writes them, from a
 * bounded store.
 *
 * Standard error may be a pipe or a terminal whose reader has stopped, and it is shared with
 * other processes, so that its flags are not ours to change. While it takes nothing, lines are
 * kept; once the store is full, lines are dropped and counted until all that is kept has been
 * written, and a line in their place tells how many they were. Lines that cannot be written (a
 * full disk, a reader that has gone) are counted alike. At the process's orderly end the rest is
 * written, as far as that takes no more than LOG_OUTPUT_END_MS.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    LOG_OUTPUT_LINE_BYTES = 4096, /* with the newline; PIPE_BUF: a pipe takes it in one piece */
    LOG_OUTPUT_STORE_BYTES = 128 * 1024, /* some 500 lines */
    LOG_OUTPUT_END_MS = 500,
};

/* Words the line that tells of `dropped` lines; returns its bytes, newline included. */
typedef size_t log_output_notice(char line[LOG_OUTPUT_LINE_BYTES], int64_t dropped);

/* Takes one whole line, its newline at its end and nowhere else. From any thread; returns at
 * once. */
void log_output_put(const char *line, size_t bytes, log_output_notice *notice);

/* For tests: waits until everything is written, at most `timeout_ms`. */
void log_output_flush(int64_t timeout_ms);
