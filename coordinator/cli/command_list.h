/* A program's commands: one table makes its help, its manual page and the dispatch. */
#pragma once

#include <stddef.h>

/* `command` takes its own argv (argv[0] is its name) and returns the exit code. */
struct command_row {
    const char *name;
    int (*command)(int argc, char **argv);
    const char *help; /* one line, no full stop */
};

struct command_list {
    const char *program; /* "longhaul batch" */
    const char *example; /* whole command lines, each ending in a newline */
    const char *summary; /* sentences, each line ending in a newline */
    const struct command_row *rows;
    size_t count;
};

/* Runs the command that argv[1] names, or shows the list: for --help, `--help=man` and
 * `--help=table` (as proto/flags_help.h has them), and on standard error where nothing is named.
 * Returns the exit code. */
int command_list_run(const struct command_list *list, int argc, char **argv);

/* The help of the command that is named; an unknown one is told of. Returns the exit code. */
int command_list_help(const struct command_list *list, const char *name);
