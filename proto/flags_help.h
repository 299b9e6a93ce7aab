/* What --help shows of a command, in its forms; for flags.c. */
#pragma once

#include <stdio.h>

#include "proto/flags.h"

/* NULL or "" is the text for people; "man" a manual page; "table" a line an option, from which
 * completions are made: tab-separated `option`, its name, its letter, its value's name, its choices
 * as "a|b" and its help, and `arguments` with what they are called. INVALID_ARGUMENT where there is
 * no such form. */
MUST_CHECK enum status flags_help_write(FILE *file, const struct flags_command *command,
                                        const char *form);
