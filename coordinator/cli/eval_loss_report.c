/* Owns the sums over windows while they are told. Promises means in which each window counts by its
 * tokens. */
#include "coordinator/cli/eval_loss_report.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "coordinator/bench/chart.h"
#include "coordinator/cli/chart_files.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/eval_losses.h"
#include "coordinator/cli/method_list.h"
#include "coordinator/cli/number_list.h"
#include "coordinator/cli/text_table.h"
#include "proto/json_writer.h"

enum { BINS_MOST = 1 << 16, CURVES = METHOD_LIST_MAX * NUMBER_LIST_MAX, TEXT_BYTES = 256 };

/* One method at one length. */
struct curve {
    char method[METHOD_TEXT_BYTES];
    int64_t length, windows, tokens;
    double sum;           /* of losses that are new in a window */
    double squares, sums; /* of windows' own means */
    size_t bins, bin;
    double *losses;  /* [bins], sums */
    int64_t *counts; /* [bins] */
};

struct curves {
    struct curve list[CURVES];
    size_t count;
};

/* ---- reading ---- */

static struct curve *curve_of(struct curves *curves, const char *method, int64_t length)
{
    for (size_t i = 0; i < curves->count; i++)
        if (curves->list[i].length == length && strcmp(curves->list[i].method, method) == 0)
            return &curves->list[i];
    if (curves->count == CURVES)
        return NULL;
    struct curve *curve = &curves->list[curves->count++];
    snprintf(curve->method, sizeof curve->method, "%s", method);
    curve->length = length;
    return curve;
}

static bool add_bins(struct curve *curve, const json_t *losses, size_t bin)
{
    const size_t bins = json_array_size(losses);
    if (bins > BINS_MOST || bin == 0 || (curve->bin && curve->bin != bin))
        return false;
    if (bins > curve->bins) {
        double *sums = reallocarray(curve->losses, bins, sizeof *sums);
        curve->losses = sums ? sums : curve->losses;
        int64_t *counts = reallocarray(curve->counts, bins, sizeof *counts);
        curve->counts = counts ? counts : curve->counts;
        if (!sums || !counts)
            return false;
        for (; curve->bins < bins; curve->bins++)
            sums[curve->bins] = 0, counts[curve->bins] = 0;
    }
    curve->bin = bin;
    for (size_t i = 0; i < bins; i++) {
        curve->losses[i] += json_number_value(json_array_get(losses, i));
        curve->counts[i]++;
    }
    return true;
}

static bool take(struct curves *curves, const json_t *line)
{
    const char *method = json_string_value(json_object_get(line, "method"));
    const json_t *loss = json_object_get(line, "new_loss");
    const json_int_t tokens = json_integer_value(json_object_get(line, "new_tokens"));
    if (!method || !json_is_number(loss) || tokens <= 0)
        return false;
    struct curve *curve =
        curve_of(curves, method, (int64_t)json_integer_value(json_object_get(line, "length")));
    if (!curve)
        return false;
    const double mean = json_number_value(loss);
    curve->windows++;
    curve->tokens += (int64_t)tokens;
    curve->sum += mean * (double)tokens;
    curve->sums += mean;
    curve->squares += mean * mean;
    return add_bins(curve, json_object_get(line, "losses"),
                    (size_t)json_integer_value(json_object_get(line, "bin")));
}

static enum status read_curves(struct curves *curves, const char *folder)
{
    char path[PATH_MAX], *text = NULL;
    size_t room = 0, number = 0;
    enum status status = STATUS_OK;
    TRY(eval_files_path(path, folder, EVAL_LOSSES_FILE));
    FILE *file = fopen(path, "re");
    if (!file)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    for (ssize_t bytes; status == STATUS_OK && (bytes = getline(&text, &room, file)) > 0;) {
        json_t *line = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, NULL);
        number++;
        if (!take(curves, line))
            status = fail(STATUS_DATA_LOSS, "%s: line %zu tells no losses", path, number);
        json_decref(line);
    }
    free(text);
    fclose(file);
    return status;
}

/* ---- telling ---- */

/* The standard error of the mean over windows; 0 of one. */
static double error_of(const struct curve *curve)
{
    const double n = (double)curve->windows;
    const double variance = (curve->squares - curve->sums * curve->sums / n) / (n - 1);
    return curve->windows > 1 ? sqrt(fmax(variance, 0) / n) : 0;
}

static void write_curve(FILE *file, const struct curve *curve)
{
    struct json_writer writer = {.file = file};
    const double loss = curve->sum / (double)curve->tokens;
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "task", "perplexity");
    json_writer_text(&writer, "method", curve->method);
    json_writer_integer(&writer, "length", curve->length);
    json_writer_integer(&writer, "windows", curve->windows);
    json_writer_integer(&writer, "tokens", curve->tokens);
    json_writer_real(&writer, "loss", loss);
    json_writer_real(&writer, "error", error_of(curve));
    json_writer_real(&writer, "perplexity", exp(loss));
    json_writer_end_object(&writer);
    fputc('\n', file);
}

static void set_row(struct text_table *table, const struct curve *curve)
{
    const double loss = curve->sum / (double)curve->tokens;
    const size_t last = curve->bins > 0 ? curve->bins - 1 : 0;
    snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "perplexity");
    snprintf(table->cells[1], TEXT_TABLE_CELL_BYTES, "%.*s", TEXT_TABLE_CELL_BYTES - 1,
             curve->method);
    snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%" PRId64, curve->length);
    snprintf(table->cells[3], TEXT_TABLE_CELL_BYTES, "%" PRId64, curve->windows);
    snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%.4f", loss);
    snprintf(table->cells[5], TEXT_TABLE_CELL_BYTES, curve->windows > 1 ? "%.4f" : "-",
             error_of(curve));
    snprintf(table->cells[6], TEXT_TABLE_CELL_BYTES, "%.3f", exp(loss));
    snprintf(table->cells[7], TEXT_TABLE_CELL_BYTES, curve->bins > 0 ? "%.4f" : "-",
             curve->bins > 0 ? curve->losses[last] / (double)curve->counts[last] : 0);
}

static void print_table(const struct curves *curves)
{
    struct text_table table = {.out = stdout};
    for (int pass = 0; pass < 2; pass++) {
        table.printing = pass == 1;
        text_table_head(&table,
                        "task|method|>length|>windows|>loss|>error|>perplexity|>at the end");
        for (size_t i = 0; i < curves->count; i++) {
            set_row(&table, &curves->list[i]);
            text_table_row(&table);
        }
    }
}

/* ---- the chart ---- */

static enum status draw_series(const struct eval_report_args *args, const struct curves *curves,
                               int64_t length, struct chart_point *points)
{
    struct chart_series series[METHOD_LIST_MAX];
    char name[TEXT_BYTES], title[TEXT_BYTES], subtitle[TEXT_BYTES];
    size_t count = 0;
    int64_t windows = 0;
    for (size_t i = 0; i < curves->count && count < METHOD_LIST_MAX; i++) {
        const struct curve *curve = &curves->list[i];
        if (curve->length != length)
            continue;
        for (size_t b = 0; b < curve->bins; b++)
            points[b] = (struct chart_point){.x = ((double)b + 0.5) * (double)curve->bin,
                                             .y = curve->losses[b] / (double)curve->counts[b]};
        series[count++] = (struct chart_series){
            .name = curve->method, .points = points, .count = curve->bins, .line = CHART_SOLID};
        points += curve->bins;
        windows = curve->windows > windows ? curve->windows : windows;
    }
    snprintf(name, sizeof name, "loss-%" PRId64 ".svg", length);
    snprintf(title, sizeof title, "Loss by position, of %" PRId64 " tokens", length);
    snprintf(subtitle, sizeof subtitle, "%s, mean of %" PRId64 " windows", args->model, windows);
    const struct chart chart = {.title = title,
                                .subtitle = subtitle,
                                .x = {.title = "position", .unit = "tokens"},
                                .y = {.title = "loss", .unit = "nats a token", .free = true},
                                .series = series,
                                .series_count = count,
                                .sparse = true};
    return chart_check(&chart) == STATUS_OK
               ? chart_files_draw(&chart, args->folder, name, args->charts)
               : STATUS_OK;
}

static enum status draw_all(const struct eval_report_args *args, const struct curves *curves)
{
    size_t bins = 1;
    for (size_t i = 0; i < curves->count; i++)
        bins += curves->list[i].bins;
    struct chart_point *points = calloc(bins, sizeof *points);
    enum status status =
        points ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chart");
    for (size_t i = 0; status == STATUS_OK && i < curves->count; i++) {
        bool first = true;
        for (size_t k = 0; k < i; k++)
            first = first && curves->list[k].length != curves->list[i].length;
        if (first)
            status = draw_series(args, curves, curves->list[i].length, points);
    }
    free(points);
    return status;
}

enum status eval_loss_report(const struct eval_report_args *args)
{
    struct curves *curves = calloc(1, sizeof *curves);
    if (!curves)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for losses");
    enum status status = read_curves(curves, args->folder);
    for (size_t i = 0; status == STATUS_OK && args->json && i < curves->count; i++)
        write_curve(stdout, &curves->list[i]);
    if (status == STATUS_OK && !args->json)
        print_table(curves);
    if (status == STATUS_OK)
        status = draw_all(args, curves);
    for (size_t i = 0; i < curves->count; i++) {
        free(curves->list[i].losses);
        free(curves->list[i].counts);
    }
    free(curves);
    return status;
}
