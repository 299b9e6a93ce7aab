/* A program's commands: one table makes the list in its help and the dispatch. */
#pragma once

#include <stddef.h>
#include <stdio.h>

/* `command` takes its own argv (argv[0] is its name) and returns the exit code. */
struct command_row {
    const char *name;
    int (*command)(int argc, char **argv);
    const char *help; /* one line, no full stop */
};

void command_list_print(FILE *file, const struct command_row *rows, size_t count);

/* NULL: none has this name. */
const struct command_row *command_list_find(const struct command_row *rows, size_t count,
                                            const char *name);

/* Says that none has this name, and which comes near; returns the exit code. */
int command_list_unknown(const char *program, const struct command_row *rows, size_t count,
                         const char *name);
