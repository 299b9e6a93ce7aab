/* longhaul eval compare: what another model, method or setting makes of the same prompts. */
#include "coordinator/cli/eval_compare_command.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/eval_compare.h"
#include "coordinator/cli/text_table.h"
#include "proto/flags.h"
#include "proto/json_writer.h"

static const char program[] = "longhaul eval compare";
static const double least_chance = 0.01; /* of all groups together */

/* Bonferroni's: of n groups that are alike, one is told of in a hundred times at most. */
static const char *verdict_of(const struct eval_compare *compare,
                              const struct eval_compare_group *group)
{
    if (group->chance * (double)compare->count >= least_chance)
        return "";
    return group->better > group->worse ? "better" : "worse";
}

static void set_method(char cell[TEXT_TABLE_CELL_BYTES], const struct eval_compare_group *group)
{
    const char *before = group->before->method, *after = group->after->method;
    if (strcmp(before, after) == 0)
        snprintf(cell, TEXT_TABLE_CELL_BYTES, "%.*s", TEXT_TABLE_CELL_BYTES - 1, before);
    else
        snprintf(cell, TEXT_TABLE_CELL_BYTES, "%.64s, %.64s", before, after);
}

static void set_row(struct text_table *table, const struct eval_compare *compare,
                    const struct eval_compare_group *group)
{
    const double pairs = (double)group->pairs;
    snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "%s", group->before->task);
    set_method(table->cells[1], group);
    snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%" PRId64, group->before->length);
    snprintf(table->cells[3], TEXT_TABLE_CELL_BYTES, "%zu", group->pairs);
    snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%.3f", group->before_sum / pairs);
    snprintf(table->cells[5], TEXT_TABLE_CELL_BYTES, "%.3f", group->after_sum / pairs);
    snprintf(table->cells[6], TEXT_TABLE_CELL_BYTES, "%zu", group->better);
    snprintf(table->cells[7], TEXT_TABLE_CELL_BYTES, "%zu", group->worse);
    snprintf(table->cells[8], TEXT_TABLE_CELL_BYTES, "%.3f", group->chance);
    snprintf(table->cells[9], TEXT_TABLE_CELL_BYTES, "%s", verdict_of(compare, group));
}

static void print_table(const struct eval_compare *compare)
{
    struct text_table table = {.out = stdout};
    for (int pass = 0; pass < 2; pass++) {
        table.printing = pass == 1;
        text_table_head(&table,
                        "task|method|>length|>pairs|>first|>second|>better|>worse|>chance|verdict");
        for (size_t i = 0; i < compare->count; i++) {
            set_row(&table, compare, &compare->groups[i]);
            text_table_row(&table);
        }
    }
}

static void print_json(const struct eval_compare *compare)
{
    for (size_t i = 0; i < compare->count; i++) {
        const struct eval_compare_group *group = &compare->groups[i];
        struct json_writer writer = {.file = stdout};
        json_writer_begin_object(&writer, NULL);
        json_writer_integer(&writer, "schema_version", 1);
        json_writer_text(&writer, "task", group->before->task);
        json_writer_text(&writer, "first_method", group->before->method);
        json_writer_text(&writer, "second_method", group->after->method);
        json_writer_integer(&writer, "length", group->before->length);
        json_writer_integer(&writer, "pairs", (int64_t)group->pairs);
        json_writer_real(&writer, "first", group->before_sum / (double)group->pairs);
        json_writer_real(&writer, "second", group->after_sum / (double)group->pairs);
        json_writer_integer(&writer, "better", (int64_t)group->better);
        json_writer_integer(&writer, "worse", (int64_t)group->worse);
        json_writer_real(&writer, "chance", group->chance);
        json_writer_end_object(&writer);
        putchar('\n');
    }
}

static bool is_worse(const struct eval_compare *compare)
{
    for (size_t i = 0; i < compare->count; i++)
        if (strcmp(verdict_of(compare, &compare->groups[i]), "worse") == 0)
            return true;
    return false;
}

/* Scores and losses; one of the two is enough. */
static enum status read_both(struct eval_rows *rows, const char *folder)
{
    const enum status scores = eval_rows_read(rows, folder);
    if (scores != STATUS_OK && scores != STATUS_NOT_FOUND)
        return scores;
    const enum status losses = eval_rows_read_losses(rows, folder);
    if (losses != STATUS_OK && losses != STATUS_NOT_FOUND)
        return losses;
    return rows->count > 0 ? STATUS_OK
                           : fail(STATUS_NOT_FOUND,
                                  "%s holds no results of an evaluation that has "
                                  "ended",
                                  folder);
}

static int compare_folders(char *const *folders, bool json)
{
    struct eval_rows before = {.count = 0}, after = {.count = 0};
    struct eval_compare compare = {.count = 0};
    enum status status = read_both(&before, folders[0]);
    if (status == STATUS_OK)
        status = read_both(&after, folders[1]);
    if (status == STATUS_OK)
        status = eval_compare_make(&compare, &before, &after);
    if (status == STATUS_OK && json)
        print_json(&compare);
    else if (status == STATUS_OK)
        print_table(&compare);
    if (status == STATUS_OK && compare.unpaired > 0)
        console_say("%s: %zu results of the two have no partner in the other, or failed", program,
                    compare.unpaired);
    const int exit_code =
        status == STATUS_OK ? is_worse(&compare) : console_failure(program, status);
    eval_compare_deinit(&compare);
    eval_rows_deinit(&before);
    eval_rows_deinit(&after);
    return exit_code;
}

int eval_compare_command(int argc, char **argv)
{
    bool json = false;
    const struct flags_row rows[] = {{.name = "json",
                                      .type = FLAGS_SWITCH,
                                      .target = &json,
                                      .help = "JSON lines: one for each task, method and length"}};
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul eval compare before after\n",
        .summary =
            "Holds two results of longhaul eval against each other, sample by sample: how many "
            "the\n"
            "second answered better and worse, and how likely so uneven a split is by chance (the\n"
            "sign test). Methods of the same spelling are compared, or the only one of each. Exit\n"
            "code 1: something is worse, by less than one chance in a hundred over all rows: of n "
            "rows\n"
            "each is held to a hundredth over n.\n",
        .arguments = "DIR DIR",
        .arguments_least = 2,
        .arguments_most = 2,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    return exit_code == FLAGS_GO_ON ? compare_folders(argv + first, json) : exit_code;
}
