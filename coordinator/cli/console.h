/* What a person sees on standard error, and how a command ends. Standard output is for data. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

/* Exit codes that no status has (status_exit_code has the others). */
enum {
    CONSOLE_EXIT_USAGE = 2,
    CONSOLE_EXIT_INTERRUPTED = 130,
    CONSOLE_EXIT_TERMINATED = 143,
};

/* Once, from main: `live`, whether standard error is a terminal on which a line can be redrawn;
 * `colour`, whether colours are wanted there. */
void console_configure(bool live, bool colour);

/* Prints "PROGRAM: SENTENCE" with the sentence of the failure, and returns the exit code. */
int console_failure(const char *program, enum status status);

/* After a wrong command line: the sentence of the failure and where the help is. Returns the exit
 * code. */
int console_usage(const char *program);

/* A line of talk; clears a progress line first. */
__attribute__((format(printf, 1, 2))) void console_say(const char *format, ...);

/* The same of a peer's text of any number of lines, masked (proto/printable.h). */
void console_show(const char *text);

/* A line that the next one replaces; nothing where the terminal is not live. It is cut where the
 * terminal ends. */
__attribute__((format(printf, 1, 2))) void console_progress(const char *format, ...);

/* The same of the first of the texts, fullest first, that fits the terminal; the last one is cut.
 */
void console_progress_fitting(const char *const *texts, size_t count);
/* Whether such a line is drawn at all. */
bool console_is_live(void);

/* Takes the progress line away. */
void console_clear(void);

/* The terminal's escape sequence for a colour, "" where colours are not wanted. */
enum console_colour { CONSOLE_PLAIN, CONSOLE_GREEN, CONSOLE_YELLOW, CONSOLE_RED, CONSOLE_DIM };
const char *console_paint(enum console_colour colour);
