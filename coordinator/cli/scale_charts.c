/* Owns the points and names of one chart while it is drawn. Promises that a chart shows what the
 * rows say, and no other figures. */
#include "coordinator/cli/scale_charts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/bench/chart.h"
#include "coordinator/bench/scaling.h"
#include "coordinator/cli/chart_files.h"

enum {
    NAME_BYTES = METHOD_TEXT_BYTES + 32,
    LINES_MOST = CHART_SERIES_MAX / 2, /* each with its second one */
};

/* One figure of a row, and what stands beside it. */
struct kind {
    const char *file, *title, *axis, *unit;
    const char *second; /* what is added to the name of the second line; NULL: one for all */
    enum chart_line second_line;
    void (*take)(struct scaling_row *row, struct scaling_row *first, struct chart_point *point,
                 struct chart_point *second);
};

static void take_rate(struct scaling_row *row, struct scaling_row *first, struct chart_point *point,
                      struct chart_point *second)
{
    const struct samples_summary seconds = samples_summarise(&row->seconds);
    point->y = scaling_tokens_per_second(row);
    point->error = point->y * seconds.deviation / seconds.median;
    second->y = (double)row->prompt_tokens / scaling_ideal_seconds(row, first);
}

static void take_efficiency(struct scaling_row *row, struct scaling_row *first,
                            struct chart_point *point, struct chart_point *second)
{
    (void)first;
    point->y = row->efficiency;
    point->error = samples_summarise(&row->efficiencies).deviation;
    second->y = 1;
}

static void take_seconds(struct scaling_row *row, struct scaling_row *first,
                         struct chart_point *point, struct chart_point *second)
{
    (void)first;
    point->y = scaling_seconds(row);
    point->error = samples_summarise(&row->seconds).deviation;
    second->y = row->predicted_seconds;
}

static void take_bytes(struct scaling_row *row, struct scaling_row *first,
                       struct chart_point *point, struct chart_point *second)
{
    (void)first;
    point->y = (double)row->sent_bytes / 1e6;
    second->y = (double)row->predicted_sent_bytes / 1e6;
}

static const struct kind kinds[] = {
    {"rate.svg", "Prefill", "rate", "tokens/s", ", ideal", CHART_REFERENCE, take_rate},
    {"efficiency.svg", "Efficiency", "over the first", NULL, NULL, CHART_REFERENCE,
     take_efficiency},
    {"seconds.svg", "Time to read the prompt", "time", "s", ", predicted", CHART_PREDICTION,
     take_seconds},
    {"bytes.svg", "Sent between workers", "all together", "MB", ", predicted", CHART_PREDICTION,
     take_bytes},
};

enum { KINDS = sizeof kinds / sizeof kinds[0], KINDS_SHOWN = 2 };

/* ---- lines ---- */

/* A method on one number of hosts, over numbers of workers. */
struct line {
    char name[NAME_BYTES], second_name[NAME_BYTES];
    struct chart_point *points, *seconds; /* [count] */
    size_t count;
};

struct lines {
    struct chart_point *memory;
    struct line lines[LINES_MOST];
    size_t count;
    struct chart_series series[CHART_SERIES_MAX];
    size_t series_count;
};

static bool begins_line(const struct scale_campaign *campaign, size_t r)
{
    const struct scaling_row *row = &campaign->rows[r];
    return r == 0 || row->method != row[-1].method || row->nodes != row[-1].nodes;
}

static struct scaling_row *first_of(struct scale_campaign *campaign, size_t r)
{
    return &campaign->rows[r - r % campaign->group_count];
}

static void name_line(char name[NAME_BYTES], const struct scaling_row *row, const char *behind)
{
    if (row->nodes)
        snprintf(name, NAME_BYTES, "%s, %d nodes%s", row->method, row->nodes, behind);
    else
        snprintf(name, NAME_BYTES, "%s%s", row->method, behind);
}

/* Lines beyond LINES_MOST are in the tables alone. */
static enum status make_lines(struct lines *lines, struct scale_campaign *campaign,
                              const struct kind *kind)
{
    *lines = (struct lines){.count = 0};
    lines->memory = calloc(2 * campaign->row_count, sizeof *lines->memory);
    if (!lines->memory)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chart");
    for (size_t r = 0; r < campaign->row_count; r++) {
        struct scaling_row *row = &campaign->rows[r];
        const bool begins = begins_line(campaign, r);
        if (begins && lines->count == LINES_MOST)
            break;
        if (begins) {
            struct line *made = &lines->lines[lines->count++];
            made->points = lines->memory + r;
            made->seconds = lines->memory + campaign->row_count + r;
            name_line(made->name, row, "");
            name_line(made->second_name, row, kind->second ? kind->second : "");
        }
        struct line *line = &lines->lines[lines->count - 1];
        struct chart_point *point = &line->points[line->count];
        struct chart_point *second = &line->seconds[line->count++];
        point->x = second->x = row->workers;
        kind->take(row, first_of(campaign, r), point, second);
    }
    return STATUS_OK;
}

static void make_series(struct lines *lines, const struct kind *kind)
{
    for (size_t l = 0; l < lines->count; l++) {
        const struct line *line = &lines->lines[l];
        lines->series[lines->series_count++] = (struct chart_series){
            .name = line->name,
            .points = line->points,
            .count = line->count,
        };
        if (kind->second || l == lines->count - 1)
            lines->series[lines->series_count++] = (struct chart_series){
                .name = kind->second ? line->second_name : "ideal",
                .points = line->seconds,
                .count = line->count,
                .line = kind->second_line,
            };
    }
}

/* ---- drawing ---- */

static enum status draw(struct scale_campaign *campaign, const struct kind *kind,
                        const char *folder, bool shown)
{
    const struct scale_settings *settings = campaign->settings;
    struct lines lines;
    char subtitle[128];
    snprintf(subtitle, sizeof subtitle, "%s scaling, %" PRId64 " tokens%s, median of %" PRId64,
             settings->weak ? "weak" : "strong", settings->prompt_tokens,
             settings->weak ? " a worker" : "", settings->repetitions);
    TRY(make_lines(&lines, campaign, kind));
    make_series(&lines, kind);
    const struct chart chart = {
        .title = kind->title,
        .subtitle = subtitle,
        .x = {.title = "workers", .scale = CHART_LOG2},
        .y = {.title = kind->axis, .unit = kind->unit},
        .series = lines.series,
        .series_count = lines.series_count,
    };
    const enum status status = chart_files_draw(&chart, folder, kind->file, shown);
    free(lines.memory);
    return status;
}

enum status scale_charts_draw(struct scale_campaign *campaign, const char *folder, bool shown)
{
    for (int k = 0; k < KINDS; k++)
        TRY(draw(campaign, &kinds[k], folder, shown && k < KINDS_SHOWN));
    return STATUS_OK;
}
