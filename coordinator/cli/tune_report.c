/* Owns the points while they are drawn. Promises that the spelling that is written is the one
 * that the table marks. */
#include "coordinator/cli/tune_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/bench/chart.h"
#include "coordinator/cli/chart_files.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/text_table.h"
#include "proto/json_writer.h"

enum { NAME_BYTES = 64, TEXT_BYTES = 256, LINES_MOST = 8 };

/* ---- files ---- */

static void write_candidate(struct json_writer *writer, const struct tune_candidate *candidate)
{
    const struct tune_loss mean = tune_search_mean(candidate);
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "method", candidate->spelling);
    json_writer_integer(writer, "samples", (int64_t)candidate->rounds);
    json_writer_real(writer, "text_loss", mean.text);
    json_writer_real(writer, "answer_loss", mean.answer);
    json_writer_begin_array(writer, "text_losses");
    for (size_t i = 0; i < candidate->rounds; i++)
        json_writer_real(writer, NULL, candidate->losses[i].text);
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "answer_losses");
    for (size_t i = 0; i < candidate->rounds; i++)
        json_writer_real(writer, NULL, candidate->losses[i].answer);
    json_writer_end_array(writer);
    json_writer_end_object(writer);
}

static void write_all(FILE *file, const struct tune_report_args *args)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    manifest_write(&writer, "manifest", args->manifest);
    json_writer_integer(&writer, "length", args->length);
    json_writer_real(&writer, "seconds", args->seconds);
    json_writer_text(&writer, "found", tune_search_best(args->candidates)->spelling);
    json_writer_begin_array(&writer, "candidates");
    for (size_t i = 0; i < args->candidates->count; i++)
        write_candidate(&writer, &args->candidates->list[i]);
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static enum status write_json(const struct tune_report_args *args)
{
    char path[PATH_MAX];
    FILE *file = NULL;
    TRY(eval_files_path(path, args->folder, "tune.json"));
    TRY(eval_files_begin(&file, path));
    write_all(file, args);
    return eval_files_end(file, path, STATUS_OK);
}

static enum status write_config(const struct tune_report_args *args)
{
    char path[PATH_MAX];
    FILE *file = NULL;
    const struct tune_candidate *best = tune_search_best(args->candidates);
    TRY(eval_files_path(path, args->folder, "method.yaml"));
    TRY(eval_files_begin(&file, path));
    fprintf(file,
            "# Found by longhaul tune for %" PRId64
            " tokens: cost %.4f over %zu samples; rope has %.4f over %zu.\n"
            "engine:\n  method: \"%s\"\n",
            args->length, tune_search_cost(best), best->rounds,
            tune_search_cost(&args->candidates->list[0]), args->candidates->list[0].rounds,
            best->spelling);
    return eval_files_end(file, path, STATUS_OK);
}

/* ---- for people ---- */

static void set_row(struct text_table *table, const struct tune_candidate *candidate, bool best)
{
    const struct tune_loss mean = tune_search_mean(candidate);
    snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "%.*s", TEXT_TABLE_CELL_BYTES - 1,
             candidate->spelling);
    snprintf(table->cells[1], TEXT_TABLE_CELL_BYTES, "%zu", candidate->rounds);
    snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%.4f", mean.text);
    snprintf(table->cells[3], TEXT_TABLE_CELL_BYTES, "%.4f", mean.answer);
    snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%.4f", mean.text + mean.answer);
    snprintf(table->cells[5], TEXT_TABLE_CELL_BYTES, "%s", best ? "found" : "");
}

static void print_table(const struct tune_report_args *args)
{
    const struct tune_candidate *best = tune_search_best(args->candidates);
    struct text_table table = {.out = stdout};
    for (int pass = 0; pass < 2; pass++) {
        table.printing = pass == 1;
        text_table_head(&table, "method|>samples|>text|>answer|>cost|note");
        for (size_t i = 0; i < args->candidates->count; i++) {
            const struct tune_candidate *each = &args->candidates->list[i];
            set_row(&table, each, each == best);
            text_table_row(&table);
        }
    }
}

static void print_found(const struct tune_report_args *args)
{
    const struct tune_candidate *best = tune_search_best(args->candidates);
    const struct tune_candidate *rope = &args->candidates->list[0];
    const bool gains = tune_search_cost(best) < tune_search_cost(rope);
    printf("\n%s: cost %.4f on %zu samples, rope %.4f%s\n"
           "written to %s/method.yaml: longhaul run --config %s/method.yaml ...\n",
           best->spelling, tune_search_cost(best), best->rounds, tune_search_cost(rope),
           gains ? "" : ", which is no worse at this length", args->folder, args->folder);
}

/* ---- the curve ---- */

/* Cost over the first parameter, a line for each value of the second, and rope's. */
struct curve {
    struct chart_point points[LINES_MOST][TUNE_CANDIDATES_MAX], rope[2];
    char names[LINES_MOST][NAME_BYTES];
    int64_t seconds[LINES_MOST];
    struct chart_series series[LINES_MOST + 1];
    size_t lines;
};

static size_t line_of(struct curve *curve, const struct tune_candidate *candidate, const char *name)
{
    size_t line = 0;
    while (line < curve->lines && curve->seconds[line] != candidate->second)
        line++;
    if (line < curve->lines || line == LINES_MOST)
        return line;
    curve->seconds[line] = candidate->second;
    snprintf(curve->names[line], NAME_BYTES, "%s=%" PRId64, name, candidate->second);
    curve->series[line] =
        (struct chart_series){.name = curve->names[line], .points = curve->points[line]};
    return curve->lines++;
}

static void set_curve(struct curve *curve, const struct tune_report_args *args)
{
    double least = (double)args->length, most = 0;
    for (size_t i = 1; i < args->candidates->count; i++) {
        const struct tune_candidate *each = &args->candidates->list[i];
        const size_t line = line_of(curve, each, args->second_name);
        if (line == LINES_MOST || each->rounds == 0)
            continue;
        /* Of the first sample, which all have. */
        curve->points[line][curve->series[line].count++] = (struct chart_point){
            (double)each->first, each->losses[0].text + each->losses[0].answer, 0};
        least = (double)each->first < least ? (double)each->first : least;
        most = (double)each->first > most ? (double)each->first : most;
    }
    const struct tune_loss rope = args->candidates->list[0].losses[0];
    curve->rope[0] = (struct chart_point){least, rope.text + rope.answer, 0};
    curve->rope[1] = (struct chart_point){most, rope.text + rope.answer, 0};
    curve->series[curve->lines] = (struct chart_series){
        .name = "rope", .points = curve->rope, .count = 2, .line = CHART_REFERENCE};
}

static enum status draw(const struct tune_report_args *args)
{
    struct curve curve = {.lines = 0};
    char title[TEXT_BYTES], subtitle[TEXT_BYTES];
    set_curve(&curve, args);
    snprintf(title, sizeof title, "Cost by %s, at %" PRId64 " tokens", args->first_name,
             args->length);
    snprintf(subtitle, sizeof subtitle, "%s, loss of text and answer on the first sample",
             args->model);
    const struct chart chart = {
        .title = title,
        .subtitle = subtitle,
        .x = {.title = args->first_name, .unit = "tokens", .free = true},
        .y = {.title = "cost", .unit = "nats a token", .free = true},
        .series = curve.series,
        .series_count = curve.lines + 1,
    };
    return chart_files_draw(&chart, args->folder, "tune.svg", args->charts);
}

enum status tune_report(const struct tune_report_args *args)
{
    TRY(write_json(args));
    TRY(write_config(args));
    if (args->json)
        write_all(stdout, args);
    else
        print_table(args);
    TRY(draw(args));
    if (!args->json)
        print_found(args);
    return STATUS_OK;
}
