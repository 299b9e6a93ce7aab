#include "coordinator/cli/command_list.h"

#include <string.h>

#include "coordinator/cli/console.h"
#include "proto/nearest.h"

enum { NAMES_MAX = 32 };

void command_list_print(FILE *file, const struct command_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(file, "  %-12s%s\n", rows[i].name, rows[i].help);
}

const struct command_row *command_list_find(const struct command_row *rows, size_t count,
                                            const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, rows[i].name) == 0)
            return &rows[i];
    return NULL;
}

int command_list_unknown(const char *program, const struct command_row *rows, size_t count,
                         const char *name)
{
    const char *names[NAMES_MAX];
    size_t known = 0;
    for (; known < count && known < NAMES_MAX; known++)
        names[known] = rows[known].name;
    const char *near = nearest_name(name, names, known);
    fprintf(stderr, "%s: unknown command \"%s\"%s%s%s\nTry '%s --help'.\n", program, name,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "", program);
    return CONSOLE_EXIT_USAGE;
}
