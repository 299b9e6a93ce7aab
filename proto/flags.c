/* Owns nothing: turns a table into help and into values. Promises that a wrong option is answered
 * with its name, the nearest right one, and the place of the help. */
#include "proto/flags.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/flags_help.h"
#include "proto/nearest.h"
#include "proto/standard_streams.h"

enum {
    OPTIONS_MOST = 64,
    /* What getopt_long returns for a long option: an index above every letter. */
    FIRST_ROW = 1000,
    FIRST_SETTING = 2000,
    OPTION_HELP = 3000,
    OPTION_VERSION,
    OPTION_CONFIG,
};

struct option_table {
    struct option options[OPTIONS_MOST];
    const char *names[OPTIONS_MOST];
    size_t count;
    char letters[2 * OPTIONS_MOST + 8];
    const char *config_path;
};

static void add_option(struct option_table *table, const char *name, int has_value, int number)
{
    assert(table->count + 1 < OPTIONS_MOST);
    table->names[table->count] = name;
    table->options[table->count++] = (struct option){
        .name = name,
        .has_arg = has_value,
        .val = number,
    };
}

bool flags_takes_setting(const struct flags_command *command, const struct config_row *row)
{
    if (!row->flag || !(row->takers & command->takers))
        return false;
    for (size_t i = 0; i < command->rows_count; i++)
        if (strcmp(command->rows[i].name, row->flag) == 0)
            return false;
    return true;
}

static int value_of(bool is_switch)
{
    return is_switch ? no_argument : required_argument;
}

static void fill_table(struct option_table *table, const struct flags_command *command)
{
    size_t used = 0;
    table->letters[used++] = ':'; /* a missing value is told apart from an unknown option */
    table->letters[used++] = 'h';
    table->letters[used++] = 'V';
    for (size_t i = 0; i < command->rows_count; i++) {
        const struct flags_row *row = &command->rows[i];
        add_option(table, row->name, value_of(row->type == FLAGS_SWITCH), FIRST_ROW + (int)i);
        if (row->letter) {
            table->letters[used++] = row->letter;
            if (row->type != FLAGS_SWITCH)
                table->letters[used++] = ':';
        }
    }
    for (size_t i = 0; command->takers && i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        if (flags_takes_setting(command, row))
            add_option(table, row->flag, value_of(row->type == CONFIG_SWITCH),
                       FIRST_SETTING + (int)i);
    }
    if (command->takers)
        add_option(table, "config", required_argument, OPTION_CONFIG);
    add_option(table, "help", optional_argument, OPTION_HELP);
    add_option(table, "version", no_argument, OPTION_VERSION);
}

static enum status take_number(const struct flags_row *row, const char *text)
{
    char *end = NULL;
    errno = 0;
    bool starts_well = text[0] == '-' || text[0] == '.' || (text[0] >= '0' && text[0] <= '9');
    double real = strtod(text, &end);
    long long integer = 0;
    if (row->type == FLAGS_INTEGER) {
        integer = strtoll(text, &end, 10);
        real = (double)integer;
    }
    if (!starts_well || *end || end == text)
        return fail(STATUS_INVALID_ARGUMENT, "--%s: \"%s\" is not a %s", row->name, text,
                    row->type == FLAGS_INTEGER ? "whole number" : "number");
    if (errno == ERANGE || !isfinite(real) || real < row->least || real > row->most)
        return fail(STATUS_INVALID_ARGUMENT, "--%s: %s is outside %.15g to %.15g", row->name, text,
                    row->least, row->most);
    if (row->type == FLAGS_INTEGER)
        *(int64_t *)row->target = integer;
    else
        *(double *)row->target = real;
    return STATUS_OK;
}

/* All digits, and no more than 64 bits hold: strtoull would take a sign, and wrap. */
static enum status take_unsigned(const struct flags_row *row, const char *text)
{
    errno = 0;
    if (!text[0] || text[strspn(text, "0123456789")])
        return fail(STATUS_INVALID_ARGUMENT, "--%s: \"%s\" is not a whole number from 0 on",
                    row->name, text);
    unsigned long long value = strtoull(text, NULL, 10);
    if (errno == ERANGE)
        return fail(STATUS_INVALID_ARGUMENT, "--%s: %s is outside 0 to %llu", row->name, text,
                    ULLONG_MAX);
    *(uint64_t *)row->target = value;
    return STATUS_OK;
}

static enum status take_one_more(const struct flags_row *row, const char *text)
{
    struct flags_texts *texts = row->target;
    if (texts->count == FLAGS_TEXTS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "--%s: is given more than %d times", row->name,
                    FLAGS_TEXTS_MAX);
    texts->texts[texts->count++] = text;
    return STATUS_OK;
}

static enum status take_row(const struct flags_row *row, const char *text)
{
    if (row->given)
        *row->given = true;
    switch (row->type) {
    case FLAGS_SWITCH:
        *(bool *)row->target = true;
        return STATUS_OK;
    case FLAGS_TEXT:
        *(const char **)row->target = text;
        return STATUS_OK;
    case FLAGS_UNSIGNED:
        return take_unsigned(row, text);
    case FLAGS_TEXTS:
        return take_one_more(row, text);
    case FLAGS_INTEGER:
    case FLAGS_REAL:
        return take_number(row, text);
    }
    return STATUS_OK;
}

/* "--name" of an argument such as "--name=value". */
static void option_name(char *name, size_t room, const char *argument)
{
    snprintf(name, room, "%.*s", (int)strcspn(argument, "="), argument);
}

/* The first option that `name` begins; `other` is the next one, NULL where there is none. */
static const char *begun_by(const struct option_table *table, const char *name, const char **other)
{
    const char *first = NULL;
    for (size_t i = 0; i < table->count && !*other; i++) {
        if (strncmp(name, table->names[i], strlen(name)) != 0)
            continue;
        if (first)
            *other = table->names[i];
        else
            first = table->names[i];
    }
    return first;
}

static enum status unknown_option(const struct option_table *table, const char *argument,
                                  int letter)
{
    char name[64];
    option_name(name, sizeof name, argument);
    if (name[0] != '-' || name[1] != '-')
        return fail(STATUS_INVALID_ARGUMENT, "unknown option -%c", letter);
    if (letter) /* getopt knows the option, so its complaint is the value */
        return fail(STATUS_INVALID_ARGUMENT, "%s takes no value", name);
    const char *other = NULL;
    const char *first = begun_by(table, name + 2, &other);
    if (other) /* getopt takes a beginning for the option where it begins one alone */
        return fail(STATUS_INVALID_ARGUMENT, "%s could be --%s or --%s: write it out", name, first,
                    other);
    const char *near = nearest_name(name + 2, table->names, table->count);
    return fail(STATUS_INVALID_ARGUMENT, "unknown option %s%s%s%s", name,
                near ? "; did you mean --" : "", near ? near : "", near ? "?" : "");
}

/* ---- help ---- */

/* In one piece, so that why it could not be written is known at the end, when it is told of. */
static enum status show_help(const struct flags_command *command, const char *form)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *memory = open_memstream(&text, &bytes);
    if (!memory)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the help text");
    const enum status status = flags_help_write(memory, command, form);
    const bool complete = fclose(memory) == 0;
    if (complete && status == STATUS_OK && standard_output_text(text) != STATUS_OK)
        errno = 0; /* standard_streams_end tells */
    free(text);
    return complete ? status : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the help text");
}

/* ---- options ---- */

static void print_version(const struct flags_command *command)
{
    printf("%.*s %s\n", (int)strcspn(command->program, " "), command->program, LONGHAUL_VERSION);
}

/* Options in order; *exit_code is set by --help and --version. */
static enum status take_options(struct option_table *table, const struct flags_command *command,
                                int argc, char **argv, int *exit_code)
{
    opterr = 0;
    optind = 0; /* GNU getopt: start anew */
    int number = 0;
    while ((number = getopt_long(argc, argv, table->letters, table->options, NULL)) != -1) {
        if (number == OPTION_HELP || number == 'h') {
            TRY(show_help(command, number == 'h' ? NULL : optarg));
            *exit_code = 0;
            return STATUS_OK;
        }
        if (number == OPTION_VERSION || number == 'V') {
            print_version(command);
            *exit_code = 0;
            return STATUS_OK;
        }
        if (number == OPTION_CONFIG) {
            table->config_path = optarg;
        } else if (number == ':') {
            return fail(STATUS_INVALID_ARGUMENT, "%s needs a value", argv[optind - 1]);
        } else if (number == '?') {
            return unknown_option(table, argv[optind - 1], optopt);
        } else if (number >= FIRST_SETTING) {
            TRY(config_set_flag(command->config, (size_t)(number - FIRST_SETTING),
                                optarg ? optarg : "true"));
        } else if (number >= FIRST_ROW) {
            TRY(take_row(&command->rows[number - FIRST_ROW], optarg));
        } else {
            for (size_t i = 0; i < command->rows_count; i++)
                if (command->rows[i].letter == number)
                    TRY(take_row(&command->rows[i], optarg));
        }
    }
    return STATUS_OK;
}

static enum status check_arguments(const struct flags_command *command, int count,
                                   const char *first)
{
    if (!command->arguments && count > 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "\"%s\" is an argument too many; it takes options only", first);
    if (command->arguments && count < command->arguments_least)
        return fail(STATUS_INVALID_ARGUMENT, "%s is missing", command->arguments);
    if (command->arguments && count > command->arguments_most)
        return fail(STATUS_INVALID_ARGUMENT, "too many arguments; it takes %s", command->arguments);
    return STATUS_OK;
}

/* `longhaul-worker version`: of programs, not of subcommands. */
static bool asks_version(const struct flags_command *command, int argc, char **argv)
{
    return argc == 2 && strcmp(argv[1], "version") == 0 && !command->arguments &&
           !strchr(command->program, ' ');
}

static int tell_config_problems(const struct flags_command *command)
{
    size_t count = config_problems_count(command->config);
    for (size_t i = 0; i < count; i++)
        fprintf(stderr, "%s\n", config_problem(command->config, i));
    if (count == 0)
        fprintf(stderr, "%s: %s\n", command->program, status_message());
    return FLAGS_EXIT_CONFIG;
}

int flags_parse(const struct flags_command *command, int argc, char **argv, int *first_argument)
{
    assert(!command->takers || command->config);
    if (asks_version(command, argc, argv)) {
        print_version(command);
        return 0;
    }
    struct option_table table = {0};
    fill_table(&table, command);
    int exit_code = FLAGS_GO_ON;
    enum status status = take_options(&table, command, argc, argv, &exit_code);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (status == STATUS_OK)
        status = check_arguments(command, argc - optind, argv[optind]);
    if (status == STATUS_OK && command->takers)
        status = config_expand(command->config, command->takers);
    if (status != STATUS_OK) {
        fprintf(stderr, "%s: %s\nTry '%s --help'.\n", command->program, status_message(),
                command->program);
        return FLAGS_EXIT_USAGE;
    }
    if (table.config_path && config_read_file(command->config, table.config_path) != STATUS_OK)
        return tell_config_problems(command);
    if (command->takers && (config_expand(command->config, command->takers) != STATUS_OK ||
                            config_check(command->config) != STATUS_OK)) {
        fprintf(stderr, "%s: %s\n", command->program, status_message());
        return FLAGS_EXIT_CONFIG;
    }
    if (first_argument)
        *first_argument = optind;
    return FLAGS_GO_ON;
}
