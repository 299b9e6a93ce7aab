/* longhaul config check | show. Owns no settings of its own: it prints the table of
 * proto/config. */
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "proto/config.h"
#include "proto/flags.h"
#include "proto/json_writer.h"

enum {
    EVERYONE = CONFIG_COORDINATOR | CONFIG_WORKER | CONFIG_RUN | CONFIG_MODEL_ONLY | CONFIG_REQUEST
};

static int check(int argc, char **argv)
{
    const struct flags_command command = {
        .program = "longhaul config check",
        .example = "  longhaul config check cluster.yaml\n",
        .summary =
            "Tells everything that is wrong with a configuration file, each with its line and\n"
            "column. The exit code is 0 for a right file and 78 for a wrong one.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
    };
    int first = 0;
    int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status == STATUS_OK)
        status = config_read_file(config, argv[first]);
    size_t problems = config ? config_problems_count(config) : 0;
    for (size_t i = 0; i < problems; i++)
        fprintf(stderr, "%s\n", config_problem(config, i));
    exit_code = 0;
    if (status == STATUS_OK && config_check(config) != STATUS_OK) {
        fprintf(stderr, "%s: %s\n", argv[first], status_message());
        exit_code = FLAGS_EXIT_CONFIG;
    } else if (status == STATUS_OK && config_expand(config, EVERYONE) != STATUS_OK) {
        fprintf(stderr, "%s\n", status_message());
        exit_code = FLAGS_EXIT_CONFIG;
    } else if (problems > 0)
        exit_code = FLAGS_EXIT_CONFIG;
    else if (status != STATUS_OK)
        exit_code = console_failure(command.program, status);
    else
        printf("%s: right\n", argv[first]);
    config_destroy(config);
    return exit_code;
}

/* As YAML takes it back: texts quoted as JSON, which YAML includes. */
static void print_value(const struct config *config, const struct config_row *row)
{
    struct json_writer writer = {.file = stdout};
    if (row->type == CONFIG_TEXT)
        json_writer_text(&writer, NULL, config_text(config, row->key));
    else
        fputs(config_text(config, row->key), stdout);
}

static void show_yaml(const struct config *config, bool origin)
{
    const char *section = "";
    for (size_t i = 0; i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        size_t section_bytes = strcspn(row->key, ".");
        if (strncmp(section, row->key, section_bytes + 1) != 0)
            printf("%s%.*s:\n", i ? "\n" : "", (int)section_bytes, row->key);
        section = row->key;
        printf("  %s: ", row->key + section_bytes + 1);
        print_value(config, row);
        const char *where = NULL;
        config_origin(config, row->key, &where);
        if (origin)
            printf("  # %s", where);
        putchar('\n');
    }
}

static void show_json(const struct config *config)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_begin_object(&writer, "settings");
    for (size_t i = 0; i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        const char *where = NULL;
        config_origin(config, row->key, &where);
        json_writer_begin_object(&writer, row->key);
        if (row->type == CONFIG_INTEGER)
            json_writer_integer(&writer, "value", config_integer(config, row->key));
        else if (row->type == CONFIG_REAL)
            json_writer_real(&writer, "value", config_real(config, row->key));
        else if (row->type == CONFIG_SWITCH)
            json_writer_boolean(&writer, "value", config_switch(config, row->key));
        else
            json_writer_text(&writer, "value", config_text(config, row->key));
        json_writer_text(&writer, "origin", where);
        json_writer_text(&writer, "help", row->help);
        json_writer_end_object(&writer);
    }
    json_writer_end_object(&writer);
    json_writer_end_object(&writer);
    putchar('\n');
}

static int show(int argc, char **argv)
{
    bool origin = false, json = false;
    const struct flags_row rows[] = {
        {.name = "origin",
         .type = FLAGS_SWITCH,
         .target = &origin,
         .help = "where each value came from: default, FILE:LINE or --flag"},
        {.name = "json", .type = FLAGS_SWITCH, .target = &json, .help = "one JSON object"},
    };
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure("longhaul config show", status);
    const struct flags_command command = {
        .program = "longhaul config show",
        .example = "  longhaul config show --origin --config cluster.yaml\n",
        .summary = "Prints every setting as a configuration file.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = EVERYONE,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON) {
        exit_code = 0;
        if (json)
            show_json(config);
        else
            show_yaml(config, origin);
    }
    config_destroy(config);
    return exit_code;
}

int config_command(int argc, char **argv)
{
    static const struct command_row commands[] = {
        {"check", check, "everything that is wrong with a file"},
        {"show", show, "every setting, and where it came from"},
    };
    const struct command_list list = {
        .program = "longhaul config",
        .example = "  longhaul config check cluster.yaml\n"
                   "  longhaul config show --origin --config cluster.yaml\n",
        .summary = "Checks a configuration file, or shows what the settings are.\n",
        .rows = commands,
        .count = sizeof commands / sizeof commands[0],
    };
    return command_list_run(&list, argc, argv);
}
