/* Owns nothing: shows a table of options. Promises that all forms show the same options. */
#include "proto/flags_help.h"

#include <string.h>

#include "proto/config.h"
#include "proto/manual_page.h"

enum { HELP_COLUMN = 30 };

typedef void write_option(FILE *file, const struct manual_option *option);

/* The command's own, and those that every command has. */
static void each_option(FILE *file, const struct flags_command *command, write_option *write)
{
    for (size_t i = 0; i < command->rows_count; i++) {
        const struct flags_row *row = &command->rows[i];
        write(file, &(struct manual_option){.letter = row->letter,
                                            .name = row->name,
                                            .value = row->value,
                                            .help = row->help});
    }
    write(file, &(struct manual_option){.letter = 'h', .name = "help", .help = "this text"});
    write(file, &(struct manual_option){.letter = 'V', .name = "version", .help = "the version"});
}

static void each_setting(FILE *file, const struct flags_command *command, write_option *write)
{
    for (size_t i = 0; i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        if (!flags_takes_setting(command, row))
            continue;
        write(file, &(struct manual_option){
                        .name = row->flag,
                        .value = row->value,
                        .help = row->help,
                        .standard = row->type == CONFIG_SWITCH ? NULL : row->standard,
                        .choices = row->type == CONFIG_CHOICE ? row->choices : NULL,
                    });
    }
    write(file, &(struct manual_option){
                    .name = "config", .value = "FILE", .help = "the configuration file, YAML"});
}

/* ---- the forms ---- */

static void print_row(FILE *file, const struct manual_option *option)
{
    char left[96];
    char short_form[8] = "";
    if (option->letter)
        snprintf(short_form, sizeof short_form, "-%c, ", option->letter);
    snprintf(left, sizeof left, "  %s--%s%s%s", short_form, option->name, option->value ? " " : "",
             option->value ? option->value : "");
    if (strlen(left) + 2 > HELP_COLUMN)
        fprintf(file, "%s\n%*s", left, HELP_COLUMN, "");
    else
        fprintf(file, "%-*s", HELP_COLUMN, left);
    fputs(option->help, file);
    if (option->standard && option->standard[0])
        fprintf(file, " [%s]", option->standard);
    fputc('\n', file);
}

static void print_text(FILE *file, const struct flags_command *command)
{
    fprintf(file, "Example:\n%s\n%s\nUsage: %s [OPTIONS]%s%s\n", command->example, command->summary,
            command->program, command->arguments ? " " : "",
            command->arguments ? command->arguments : "");
    fputs("\nOptions:\n", file);
    each_option(file, command, print_row);
    if (!command->takers)
        return;
    fputs("\nSettings (a flag wins over the configuration file, the file over the [default]):\n",
          file);
    each_setting(file, command, print_row);
}

static void print_manual(FILE *file, const struct flags_command *command)
{
    const struct manual_page page = {
        .program = command->program, .summary = command->summary, .arguments = command->arguments};
    manual_page_begin(file, &page);
    manual_page_section(file, "OPTIONS");
    each_option(file, command, manual_page_option);
    if (command->takers) {
        manual_page_section(file, "SETTINGS");
        manual_page_text(file,
                         "A flag wins over the configuration file, the file over the [default].");
        each_setting(file, command, manual_page_option);
    }
    manual_page_end(file, command->example);
}

static void print_cells(FILE *file, const struct manual_option *option)
{
    fprintf(file, "option\t%s\t%.1s\t%s\t%s\t%s\n", option->name,
            option->letter ? &option->letter : "", option->value ? option->value : "",
            option->choices ? option->choices : "", option->help);
}

static void print_table(FILE *file, const struct flags_command *command)
{
    each_option(file, command, print_cells);
    if (command->takers)
        each_setting(file, command, print_cells);
    if (command->arguments)
        fprintf(file, "arguments\t%s\n", command->arguments);
}

enum status flags_help_write(FILE *file, const struct flags_command *command, const char *form)
{
    if (!form || !form[0])
        print_text(file, command);
    else if (strcmp(form, "man") == 0)
        print_manual(file, command);
    else if (strcmp(form, "table") == 0)
        print_table(file, command);
    else
        return fail(STATUS_INVALID_ARGUMENT, "--help: \"%s\" is no form; it has man and table",
                    form);
    return STATUS_OK;
}
