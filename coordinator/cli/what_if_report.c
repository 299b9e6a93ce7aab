/* Owns the layout of a what-if's table, JSON and charts. */
#include "coordinator/cli/what_if_report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "coordinator/bench/chart_svg.h"
#include "coordinator/bench/chart_terminal.h"
#include "proto/json_writer.h"

enum { TOKENS_BYTES = 24, NAME_BYTES = 64, PATH_BYTES = 4096, CHART_ROWS = 14 };

/* "128k", "10M"; other numbers as they are. */
static const char *tokens_text(char text[TOKENS_BYTES], int64_t tokens)
{
    if (tokens % (1 << 20) == 0)
        snprintf(text, TOKENS_BYTES, "%" PRId64 "M", tokens >> 20);
    else if (tokens % (1 << 10) == 0)
        snprintf(text, TOKENS_BYTES, "%" PRId64 "k", tokens >> 10);
    else
        snprintf(text, TOKENS_BYTES, "%" PRId64, tokens);
    return text;
}

/* ---- the table ---- */

static void print_row(const struct what_if_row *row)
{
    char tokens[TOKENS_BYTES];
    printf("%7d %8s %-10s %6d %10.3f %12.0f %6.1f %% %10.1f %8.1f %-5s %-10s %9.2f\n",
           row->choice.group.workers, tokens_text(tokens, row->prompt_tokens),
           choice_partition_name(row->choice.request.partition), row->prefill.stages,
           row->prefill.seconds, (double)row->prompt_tokens / row->prefill.seconds,
           100 * row->efficiency, (double)row->sent_bytes / 1e9, (double)row->memory_bytes / 1e9,
           row->fits ? "" : "no", what_if_bound_name(row->bound), 1e3 * row->decode_seconds);
}

static int rows_of_method(const struct what_if *what_if)
{
    return what_if->count / what_if->methods_count;
}

static void print_table(const struct what_if *what_if, int method)
{
    const int count = rows_of_method(what_if);
    const struct what_if_row *rows = &what_if->rows[method * count];
    printf("\n%s\n%7s %8s %-10s %6s %10s %12s %8s %10s %8s %-5s %-10s %9s\n",
           what_if->methods[method], "workers", "tokens", "shards", "stages", "prefill s",
           "tokens/s", "of ideal", "sent GB", "a worker", "fits", "bound by", "ms/token");
    for (int r = 0; r < count; r++)
        print_row(&rows[r]);
}

/* ---- charts ---- */

/* A line for each length, a point for each number of workers. */
struct lines {
    struct chart_series series[CHART_SERIES_MAX];
    struct chart_point points[CHART_SERIES_MAX][FACT_INTEGERS_MAX];
    char names[CHART_SERIES_MAX][TOKENS_BYTES + 16];
    char title[NAME_BYTES + METHOD_TEXT_BYTES];
    char subtitle[2 * FACT_TEXT_BYTES + 16];
    size_t count;
};

enum figure { EFFICIENCY, SECONDS };

static double figure_of(const struct what_if_row *row, enum figure figure)
{
    return figure == EFFICIENCY ? 100 * row->efficiency : row->prefill.seconds;
}

/* The lines of a method; where prompts grow with the workers, of all methods one each. */
static void make_lines(struct lines *lines, const struct what_if *what_if, int method,
                       enum figure figure)
{
    const int workers = what_if->cluster.workers.count;
    const bool weak = what_if->cluster.worker_tokens > 0;
    const int count = weak ? what_if->methods_count : rows_of_method(what_if) / workers;
    const struct what_if_row *rows = &what_if->rows[weak ? 0 : method * rows_of_method(what_if)];
    char tokens[TOKENS_BYTES];
    lines->count = 0;
    for (int s = 0; s < count && s < CHART_SERIES_MAX; s++) {
        const struct what_if_row *first = &rows[s * workers];
        if (weak)
            snprintf(lines->names[s], sizeof lines->names[s], "%.*s",
                     (int)strcspn(what_if->methods[s], ":+"), what_if->methods[s]);
        else
            snprintf(lines->names[s], sizeof lines->names[s], "%s tokens",
                     tokens_text(tokens, first->prompt_tokens));
        for (int w = 0; w < workers; w++)
            lines->points[s][w] = (struct chart_point){.x = first[w].choice.group.workers,
                                                       .y = figure_of(&first[w], figure)};
        lines->series[lines->count++] = (struct chart_series){
            .name = lines->names[s], .points = lines->points[s], .count = (size_t)workers};
    }
    snprintf(lines->subtitle, sizeof lines->subtitle, "simulated: %s, %s", what_if->model.name,
             what_if->cluster.name);
    if (weak)
        snprintf(lines->title, sizeof lines->title, "%s tokens for each worker",
                 tokens_text(tokens, what_if->cluster.worker_tokens));
    else
        snprintf(lines->title, sizeof lines->title, "prefill by %s", what_if->methods[method]);
}

static struct chart chart_of(const struct lines *lines, enum figure figure)
{
    return (struct chart){
        .title = lines->title,
        .subtitle = lines->subtitle,
        .x = {.title = "workers", .scale = CHART_LOG2},
        .y = figure == EFFICIENCY
                 ? (struct chart_axis){.title = "of ideal", .unit = "%"}
                 : (struct chart_axis){.title = "prefill", .unit = "s", .scale = CHART_LOG10},
        .series = lines->series,
        .series_count = lines->count,
    };
}

static int charts_count(const struct what_if *what_if)
{
    return what_if->cluster.worker_tokens > 0 ? 1 : what_if->methods_count;
}

static enum status print_chart(const struct what_if *what_if, int method, int columns)
{
    struct lines lines;
    const struct chart_terminal terminal = {
        .columns = columns > 0 ? columns : 80, .rows = CHART_ROWS, .plain = columns == 0};
    make_lines(&lines, what_if, method, EFFICIENCY);
    const struct chart chart = chart_of(&lines, EFFICIENCY);
    putchar('\n');
    return chart_terminal_write(stdout, &chart, &terminal);
}

enum status what_if_report_print(const struct what_if *what_if, int columns)
{
    printf("%s on %s\n", what_if->model.name, what_if->cluster.name);
    for (int m = 0; m < what_if->methods_count; m++)
        print_table(what_if, m);
    /* One number of workers is no line. */
    for (int c = 0; what_if->cluster.workers.count > 1 && c < charts_count(what_if); c++)
        TRY(print_chart(what_if, c, columns));
    return STATUS_OK;
}

static enum status write_svg(const struct chart *chart, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        return fail(STATUS_IO, "write %s: %s", path, strerror(errno));
    enum status status = chart_svg_write(file, chart);
    const bool failed = ferror(file);
    if ((fclose(file) != 0 || failed) && status == STATUS_OK)
        status = fail(STATUS_IO, "write %s: %s", path, strerror(errno));
    return status;
}

enum status what_if_report_draw(const struct what_if *what_if, const char *folder)
{
    static const char *const names[] = {[EFFICIENCY] = "efficiency", [SECONDS] = "seconds"};
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return fail(STATUS_IO, "make the folder %s: %s", folder, strerror(errno));
    for (int c = 0; c < charts_count(what_if); c++)
        for (int figure = EFFICIENCY; figure <= SECONDS; figure++) {
            struct lines lines;
            char path[PATH_BYTES];
            const char *method = what_if->methods[c];
            make_lines(&lines, what_if, c, (enum figure)figure);
            const struct chart chart = chart_of(&lines, (enum figure)figure);
            if (what_if->cluster.worker_tokens > 0)
                method = "weak";
            if (snprintf(path, sizeof path, "%s/%s-%.*s.svg", folder, names[figure],
                         (int)strcspn(method, ":+"), method) >= (int)sizeof path)
                return fail(STATUS_INVALID_ARGUMENT, "%.40s...: too long a name", folder);
            TRY(write_svg(&chart, path));
        }
    return STATUS_OK;
}

/* ---- JSON ---- */

static void write_row(struct json_writer *writer, const struct what_if_row *row, const char *method)
{
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "workers", row->choice.group.workers);
    json_writer_integer(writer, "prompt_tokens", row->prompt_tokens);
    json_writer_text(writer, "method", method);
    json_writer_text(writer, "partition", choice_partition_name(row->choice.request.partition));
    json_writer_text(writer, "schedule", choice_schedule_name(row->choice.request.schedule));
    json_writer_integer(writer, "stage_tokens", row->choice.request.stage_tokens);
    json_writer_integer(writer, "stages", row->prefill.stages);
    json_writer_integer(writer, "simulated_stages", row->prefill.played);
    json_writer_integer(writer, "block_tokens", row->choice.group.block_tokens);
    json_writer_integer(writer, "simulated_block_tokens", row->prefill.block_tokens);
    json_writer_real(writer, "predicted_seconds", row->prefill.seconds);
    json_writer_real(writer, "compute_seconds", row->prefill.compute_seconds);
    json_writer_real(writer, "tokens_per_second",
                     (double)row->prompt_tokens / row->prefill.seconds);
    json_writer_real(writer, "efficiency", row->efficiency);
    json_writer_real(writer, "decode_seconds", row->decode_seconds);
    json_writer_integer(writer, "predicted_sent_bytes", row->sent_bytes);
    json_writer_integer(writer, "memory_bytes", row->memory_bytes);
    json_writer_boolean(writer, "fits", row->fits);
    json_writer_text(writer, "bound", what_if_bound_name(row->bound));
    json_writer_end_object(writer);
}

void what_if_report_json(const struct what_if *what_if, const struct manifest *manifest)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "cluster", what_if->cluster.name);
    json_writer_text(&writer, "model", what_if->model.name);
    manifest_write(&writer, "manifest", manifest);
    json_writer_begin_array(&writer, "rows");
    for (int r = 0; r < what_if->count; r++)
        write_row(&writer, &what_if->rows[r], what_if->methods[r / rows_of_method(what_if)]);
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    putchar('\n');
}
