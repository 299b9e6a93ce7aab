#include "coordinator/cli/command_list.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "proto/manual_page.h"
#include "proto/nearest.h"

enum { NAMES_MAX = 32 };

static void print_text(FILE *file, const struct command_list *list)
{
    fprintf(file, "Example:\n%s\n%s\nUsage: %s COMMAND [OPTIONS]\n\nCommands:\n", list->example,
            list->summary, list->program);
    for (size_t i = 0; i < list->count; i++)
        fprintf(file, "  %-12s%s\n", list->rows[i].name, list->rows[i].help);
    fprintf(file,
            "\n`%s COMMAND --help` tells a command's options, `longhaul --version` the version.\n",
            list->program);
}

static void print_manual(FILE *file, const struct command_list *list)
{
    const struct manual_page page = {
        .program = list->program, .summary = list->summary, .arguments = "COMMAND"};
    manual_page_begin(file, &page);
    manual_page_section(file, "COMMANDS");
    for (size_t i = 0; i < list->count; i++)
        manual_page_command(file, list->program, list->rows[i].name, list->rows[i].help);
    manual_page_end(file, list->example);
}

static void print_table(FILE *file, const struct command_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        fprintf(file, "command\t%s\t%s\n", list->rows[i].name, list->rows[i].help);
}

static const struct command_row *find(const struct command_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(name, list->rows[i].name) == 0)
            return &list->rows[i];
    return NULL;
}

/* Says that none has this name, and which comes near. */
static int unknown(const struct command_list *list, const char *name)
{
    const char *names[NAMES_MAX];
    size_t known = 0;
    for (; known < list->count && known < NAMES_MAX; known++)
        names[known] = list->rows[known].name;
    const char *near = nearest_name(name, names, known);
    fprintf(stderr, "%s: unknown command \"%s\"%s%s%s\nTry '%s --help'.\n", list->program, name,
            near ? "; did you mean " : "", near ? near : "", near ? "?" : "", list->program);
    return CONSOLE_EXIT_USAGE;
}

int command_list_help(const struct command_list *list, const char *name)
{
    const struct command_row *row = find(list, name);
    char flag[] = "--help";
    char command[] = "help";
    char *help[] = {command, flag, NULL};
    return row ? row->command(2, help) : unknown(list, name);
}

int command_list_run(const struct command_list *list, int argc, char **argv)
{
    static const struct {
        const char *word;
        void (*print)(FILE *file, const struct command_list *list);
    } forms[] = {
        {"--help", print_text},
        {"-h", print_text},
        {"--help=man", print_manual},
        {"--help=table", print_table},
    };
    if (argc < 2) {
        print_text(stderr, list);
        return CONSOLE_EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++)
        if (strcmp(argv[1], forms[i].word) == 0) {
            forms[i].print(stdout, list);
            return 0;
        }
    const struct command_row *row = find(list, argv[1]);
    return row ? row->command(argc - 1, argv + 1) : unknown(list, argv[1]);
}
