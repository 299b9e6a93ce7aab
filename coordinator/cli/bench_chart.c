/* Owns the points of a chart while it is drawn. */
#include "coordinator/cli/bench_chart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/chart_files.h"

enum { TEXT_BYTES = 256 };

/* What a chart takes of the cases. */
struct choice_of_points {
    enum bench_kind kind;
    bool decode;
    int64_t answer_tokens; /* of one length of answers; -1: of any */
};

static bool takes(const struct choice_of_points *wanted, const struct bench_case *one)
{
    return one->kind == wanted->kind &&
           (wanted->answer_tokens < 0 || one->answer_tokens == wanted->answer_tokens);
}

static struct chart_point point_of(struct bench_case *one, bool decode)
{
    const struct samples_summary rate =
        samples_summarise(decode ? &one->decode_rate : &one->prefill_rate);
    return (struct chart_point){(double)one->prompt_tokens, rate.mean, rate.deviation};
}

/* A line a method, cases of one method in a row. Returns how many points the longest line has. */
static size_t collect(struct chart *chart, struct chart_series *series, struct chart_point *points,
                      const struct bench_report *report, const struct choice_of_points *wanted)
{
    size_t used = 0, longest = 0;
    struct chart_series *line = NULL;
    for (size_t i = 0; i < report->cases->count; i++) {
        struct bench_case *one = &report->cases->cases[i];
        if (!takes(wanted, one))
            continue;
        if (!line || strcmp(line->name, one->method) != 0) {
            line = &series[chart->series_count++];
            *line = (struct chart_series){.name = one->method, .points = points + used};
        }
        points[used++] = point_of(one, wanted->decode);
        line->count++;
        longest = line->count > longest ? line->count : longest;
    }
    return longest;
}

static enum status draw(const struct bench_report *report, const struct choice_of_points *wanted,
                        const char *title, const char *folder, const char *name, bool shown)
{
    struct chart_series series[METHOD_LIST_MAX];
    char subtitle[TEXT_BYTES];
    struct chart_point *points = calloc(report->cases->count, sizeof *points);
    if (!points)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chart");
    const struct bench_case *first = &report->cases->cases[0];
    snprintf(subtitle, sizeof subtitle, "%s, %d %s, %s, mean and deviation of %lld",
             report->manifest->model, first->workers, first->workers == 1 ? "worker" : "workers",
             first->kernels, (long long)report->repetitions);
    struct chart chart = {
        .title = title,
        .subtitle = subtitle,
        .x = {.title = "tokens of the prompt", .scale = CHART_LOG2},
        .y = {.title = wanted->decode ? "decode" : "prefill", .unit = "tokens/s"},
        .series = series,
    };
    enum status status = STATUS_OK;
    if (collect(&chart, series, points, report, wanted) > 1)
        status = chart_files_draw(&chart, folder, name, shown);
    free(points);
    return status;
}

/* Where several lengths of answers were decoded, a chart shows the first. */
static int64_t first_answer(const struct bench_report *report)
{
    for (size_t i = 0; i < report->cases->count; i++)
        if (report->cases->cases[i].kind == BENCH_DECODE)
            return report->cases->cases[i].answer_tokens;
    return -1;
}

enum status bench_chart_draw(const struct bench_report *report, const char *folder, bool shown)
{
    const struct choice_of_points prefill = {BENCH_PREFILL, false, -1};
    const struct choice_of_points decode = {BENCH_DECODE, true, first_answer(report)};
    const struct choice_of_points frontier[] = {{BENCH_FRONTIER, false, -1},
                                                {BENCH_FRONTIER, true, -1}};
    TRY(draw(report, &prefill, "Prefill by length", folder, "prefill.svg", shown));
    TRY(draw(report, &decode, "Decode by depth", folder, "decode.svg", shown));
    TRY(draw(report, &frontier[0], "Context frontier: prefill", folder, "frontier-prefill.svg",
             shown));
    return draw(report, &frontier[1], "Context frontier: decode", folder, "frontier-decode.svg",
                shown);
}
