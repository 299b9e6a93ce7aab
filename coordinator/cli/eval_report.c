/* Owns the rows while they are told. Promises that tables, JSON and charts tell the same
 * figures. */
#include "coordinator/cli/eval_report.h"

#include <inttypes.h>
#include <stdio.h>

#include "coordinator/cli/eval_charts.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/eval_rows.h"
#include "coordinator/cli/text_table.h"
#include "proto/json_writer.h"

static void write_group(FILE *file, const struct eval_group *group)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "task", group->first->task);
    json_writer_text(&writer, "method", group->first->method);
    json_writer_integer(&writer, "length", group->first->length);
    json_writer_integer(&writer, "samples", (int64_t)group->samples);
    json_writer_integer(&writer, "failed", (int64_t)group->failed);
    json_writer_real(&writer, "score", group->interval.mean);
    json_writer_real(&writer, "low", group->interval.low);
    json_writer_real(&writer, "high", group->interval.high);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void write_groups(FILE *file, const struct eval_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++)
        write_group(file, &groups->groups[i]);
}

static enum status write_summary(const struct eval_groups *groups, const char *folder)
{
    char path[PATH_MAX];
    FILE *file = NULL;
    TRY(eval_files_path(path, folder, "summary.jsonl"));
    TRY(eval_files_begin(&file, path));
    write_groups(file, groups);
    return eval_files_end(file, path, STATUS_OK);
}

static void set_row(struct text_table *table, const struct eval_group *group)
{
    const struct eval_interval *interval = &group->interval;
    snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "%s", group->first->task);
    snprintf(table->cells[1], TEXT_TABLE_CELL_BYTES, "%.*s", TEXT_TABLE_CELL_BYTES - 1,
             group->first->method);
    snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%" PRId64, group->first->length);
    snprintf(table->cells[3], TEXT_TABLE_CELL_BYTES, "%zu", group->samples);
    snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%.3f", interval->mean);
    snprintf(table->cells[5], TEXT_TABLE_CELL_BYTES, "%.2f to %.2f", interval->low, interval->high);
    snprintf(table->cells[6], TEXT_TABLE_CELL_BYTES, group->failed ? "%zu failed" : "",
             group->failed);
}

static void print_table(const struct eval_groups *groups)
{
    struct text_table table = {.out = stdout};
    for (int pass = 0; pass < 2 && groups->count > 0; pass++) {
        table.printing = pass == 1;
        text_table_head(&table, "task|method|>length|>samples|>score|95 %|note");
        for (size_t i = 0; i < groups->count; i++) {
            set_row(&table, &groups->groups[i]);
            text_table_row(&table);
        }
    }
}

static enum status tell(const struct eval_report_args *args, const struct eval_rows *rows)
{
    struct eval_groups groups;
    TRY(eval_rows_group(&groups, rows));
    enum status status = write_summary(&groups, args->folder);
    if (status == STATUS_OK && args->json)
        write_groups(stdout, &groups);
    else if (status == STATUS_OK)
        print_table(&groups);
    if (status == STATUS_OK)
        status = eval_charts_draw(args, rows, &groups);
    eval_groups_deinit(&groups);
    return status;
}

enum status eval_report(const struct eval_report_args *args)
{
    struct eval_rows rows = {.count = 0};
    enum status status = eval_rows_read(&rows, args->folder);
    if (status == STATUS_OK)
        status = tell(args, &rows);
    eval_rows_deinit(&rows);
    return status;
}
