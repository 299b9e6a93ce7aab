/* Standard input, output and error, from the first line of main to its last: a stream that was
 * closed is an error where it is used, and output that is lost never ends in success. */
#pragma once

#include "proto/status.h"

/* First in main: a reader that goes away becomes a write error. That none of the three descriptors
 * is free for the next file or socket to take is seen to before main, in every program that calls
 * this: reading one that was closed, or writing to it, fails. */
void standard_streams_open(void);

/* IO where standard output was closed when the program began. */
MUST_CHECK enum status standard_output_check(void);

/* Writes the text out at once. IO where standard output takes no more. */
MUST_CHECK enum status standard_output_text(const char *text);

/* Last in main: flushes standard output and returns the program's exit code. Where output was lost
 * that is 141 (128 + SIGPIPE) when its reader had gone and 74 otherwise, with one message: of
 * `program`, unless `exit_code` says that a command has told of it or of another failure. */
int standard_streams_end(const char *program, int exit_code);
