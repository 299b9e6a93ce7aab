/* Owns the points of a chart while it is drawn. Promises that charts show what the table says. */
#include "coordinator/cli/eval_charts.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/chart.h"
#include "coordinator/bench/heat_map.h"
#include "coordinator/cli/chart_files.h"
#include "coordinator/cli/method_list.h"
#include "coordinator/cli/number_list.h"

enum { TEXT_BYTES = 256, LABEL_BYTES = 16, DEPTHS = 101, EXACT_DEPTHS = 12, DECILES = 11 };

/* What one task's charts are of: methods and lengths in the order in which they come. */
struct subject {
    const struct eval_report_args *args;
    const struct eval_rows *rows;
    const char *task;
    const char *methods[METHOD_LIST_MAX];
    size_t method_count;
    int64_t lengths[NUMBER_LIST_MAX];
    size_t length_count;
    char subtitle[TEXT_BYTES];
};

static size_t method_of(const struct subject *subject, const char *method)
{
    size_t i = 0;
    while (i < subject->method_count && strcmp(subject->methods[i], method) != 0)
        i++;
    return i;
}

static size_t length_of(const struct subject *subject, int64_t length)
{
    size_t i = 0;
    while (i < subject->length_count && subject->lengths[i] != length)
        i++;
    return i;
}

static void note_group(struct subject *subject, const struct eval_group *group)
{
    const size_t method = method_of(subject, group->first->method);
    const size_t length = length_of(subject, group->first->length);
    if (method == subject->method_count && method < METHOD_LIST_MAX)
        subject->methods[subject->method_count++] = group->first->method;
    if (length == subject->length_count && length < NUMBER_LIST_MAX)
        subject->lengths[subject->length_count++] = group->first->length;
}

static int ascending(const void *left, const void *right)
{
    const int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return (a > b) - (a < b);
}

static void find_subject(struct subject *subject, const struct eval_groups *groups)
{
    size_t samples = 0;
    for (size_t i = 0; i < groups->count; i++)
        if (strcmp(groups->groups[i].first->task, subject->task) == 0) {
            note_group(subject, &groups->groups[i]);
            samples = groups->groups[i].samples > samples ? groups->groups[i].samples : samples;
        }
    qsort(subject->lengths, subject->length_count, sizeof *subject->lengths, ascending);
    snprintf(subject->subtitle, sizeof subject->subtitle, "%s, %zu samples each",
             subject->args->model, samples);
}

/* ---- score by length ---- */

struct lines {
    struct chart_point points[METHOD_LIST_MAX][NUMBER_LIST_MAX];
    double below[METHOD_LIST_MAX][NUMBER_LIST_MAX];
    struct chart_series series[METHOD_LIST_MAX];
};

static void set_points(struct lines *lines, const struct subject *subject,
                       const struct eval_groups *groups)
{
    for (size_t m = 0; m < subject->method_count; m++) {
        for (size_t l = 0; l < subject->length_count; l++)
            lines->points[m][l] = (struct chart_point){(double)subject->lengths[l], NAN, 0};
        lines->series[m] = (struct chart_series){.name = subject->methods[m],
                                                 .points = lines->points[m],
                                                 .count = subject->length_count,
                                                 .below = lines->below[m]};
    }
    for (size_t i = 0; i < groups->count; i++) {
        const struct eval_group *group = &groups->groups[i];
        const size_t m = method_of(subject, group->first->method);
        const size_t l = length_of(subject, group->first->length);
        if (strcmp(group->first->task, subject->task) != 0 || group->samples == 0 ||
            m == subject->method_count || l == subject->length_count)
            continue;
        lines->points[m][l].y = group->interval.mean;
        lines->points[m][l].error = group->interval.high - group->interval.mean;
        lines->below[m][l] = group->interval.mean - group->interval.low;
    }
}

static enum status draw_scores(const struct subject *subject, const struct eval_groups *groups)
{
    char name[TEXT_BYTES], title[TEXT_BYTES];
    struct lines *lines = calloc(1, sizeof *lines);
    if (!lines)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chart");
    set_points(lines, subject, groups);
    snprintf(name, sizeof name, "score-%s.svg", subject->task);
    snprintf(title, sizeof title, "%s: score by length", subject->task);
    const struct chart chart = {
        .title = title,
        .subtitle = subject->subtitle,
        .x = {.title = "prompt and answer", .unit = "tokens", .scale = CHART_LOG2},
        .y = {.title = "score, with its interval of 95 %", .reach = 1},
        .series = lines->series,
        .series_count = subject->method_count,
        .beside = true,
    };
    const enum status status =
        chart_check(&chart) == STATUS_OK
            ? chart_files_draw(&chart, subject->args->folder, name, subject->args->charts)
            : STATUS_OK; /* every sample failed: the table says so */
    free(lines);
    return status;
}

/* ---- what was found by depth ---- */

struct depths {
    int row_of[DEPTHS]; /* of a depth in percent; -1: nothing was there */
    char labels[EXACT_DEPTHS][LABEL_BYTES];
    size_t count;
};

static bool is_of(const struct subject *subject, const struct eval_row *row)
{
    return !row->failed && row->placed > 0 && row->depth >= 0 &&
           strcmp(row->task, subject->task) == 0;
}

/* Each depth that there is, or tenths where there are many. */
static void find_depths(struct depths *depths, const struct subject *subject)
{
    bool there[DEPTHS] = {false};
    size_t different = 0;
    for (size_t i = 0; i < subject->rows->count; i++)
        for (size_t k = 0;
             is_of(subject, &subject->rows->rows[i]) && k < subject->rows->rows[i].placed; k++)
            there[subject->rows->rows[i].depths[k]] = true;
    for (int d = 0; d < DEPTHS; d++)
        different += there[d];
    for (int d = 0; d < DEPTHS; d++) {
        depths->row_of[d] = -1;
        if (different > EXACT_DEPTHS) {
            depths->row_of[d] = d / 10;
        } else if (there[d]) {
            snprintf(depths->labels[depths->count], LABEL_BYTES, "%d %%", d);
            depths->row_of[d] = (int)depths->count++;
        }
    }
    for (; different > EXACT_DEPTHS && depths->count < DECILES; depths->count++)
        snprintf(depths->labels[depths->count], LABEL_BYTES, "%zu %%", 10 * depths->count);
}

struct cells {
    double found[EXACT_DEPTHS * NUMBER_LIST_MAX], all[EXACT_DEPTHS * NUMBER_LIST_MAX];
};

static void count_found(struct cells *cells, const struct subject *subject,
                        const struct depths *depths)
{
    for (size_t i = 0; i < subject->rows->count; i++) {
        const struct eval_row *row = &subject->rows->rows[i];
        const size_t m = method_of(subject, row->method), l = length_of(subject, row->length);
        if (!is_of(subject, row) || m == subject->method_count || l == subject->length_count)
            continue;
        for (size_t k = 0; k < row->placed; k++) {
            const size_t cell = (size_t)depths->row_of[row->depths[k]] * subject->length_count + l;
            cells[m].found[cell] += row->found[k];
            cells[m].all[cell]++;
        }
    }
    for (size_t m = 0; m < subject->method_count; m++)
        for (size_t c = 0; c < depths->count * subject->length_count; c++)
            cells[m].found[c] = cells[m].all[c] > 0 ? cells[m].found[c] / cells[m].all[c] : NAN;
}

static enum status draw_map(const struct subject *subject, const struct depths *depths,
                            const struct cells *cells)
{
    char name[TEXT_BYTES], title[TEXT_BYTES], lengths[NUMBER_LIST_MAX][LABEL_BYTES];
    const char *rows[EXACT_DEPTHS], *columns[NUMBER_LIST_MAX];
    struct heat_map_panel panels[METHOD_LIST_MAX];
    for (size_t d = 0; d < depths->count; d++)
        rows[d] = depths->labels[d];
    for (size_t l = 0; l < subject->length_count; l++) {
        const bool whole = subject->lengths[l] % 1024 == 0;
        snprintf(lengths[l], LABEL_BYTES, whole ? "%" PRId64 "k" : "%" PRId64,
                 whole ? subject->lengths[l] / 1024 : subject->lengths[l]);
        columns[l] = lengths[l];
    }
    for (size_t m = 0; m < subject->method_count; m++)
        panels[m] = (struct heat_map_panel){subject->methods[m], cells[m].found};
    snprintf(name, sizeof name, "depth-%s.svg", subject->task);
    snprintf(title, sizeof title, "%s: found, in percent, by depth", subject->task);
    const struct heat_map map = {.title = title,
                                 .subtitle = subject->subtitle,
                                 .row_title = "depth",
                                 .column_title = "tokens",
                                 .row_labels = rows,
                                 .column_labels = columns,
                                 .rows = depths->count,
                                 .columns = subject->length_count,
                                 .panels = panels,
                                 .panel_count = subject->method_count};
    return chart_files_draw_map(&map, subject->args->folder, name, subject->args->charts);
}

static enum status draw_depths(const struct subject *subject)
{
    struct depths depths = {.count = 0};
    find_depths(&depths, subject);
    if (depths.count < 2)
        return STATUS_OK;
    struct cells *cells = calloc(subject->method_count, sizeof *cells);
    if (!cells)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a heat map");
    count_found(cells, subject, &depths);
    const enum status status = draw_map(subject, &depths, cells);
    free(cells);
    return status;
}

/* ---- all tasks ---- */

static bool is_new(const struct eval_groups *groups, size_t number)
{
    for (size_t i = 0; i < number; i++)
        if (strcmp(groups->groups[i].first->task, groups->groups[number].first->task) == 0)
            return false;
    return true;
}

enum status eval_charts_draw(const struct eval_report_args *args, const struct eval_rows *rows,
                             const struct eval_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++) {
        struct subject subject = {
            .args = args, .rows = rows, .task = groups->groups[i].first->task};
        if (!is_new(groups, i))
            continue;
        find_subject(&subject, groups);
        TRY(draw_scores(&subject, groups));
        TRY(draw_depths(&subject));
    }
    return STATUS_OK;
}
