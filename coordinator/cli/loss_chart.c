/* Owns the points while they are read and drawn. */
#include "coordinator/cli/loss_chart.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/chart.h"
#include "coordinator/cli/chart_files.h"

enum { LINE_BYTES = 4096, POINTS_MOST = 400 };

struct points {
    struct chart_point *list;
    size_t count, capacity;
};

static bool add(struct points *points, struct chart_point point)
{
    if (points->count == points->capacity) {
        const size_t capacity = points->capacity ? 2 * points->capacity : 256;
        struct chart_point *grown = realloc(points->list, capacity * sizeof *grown);
        if (!grown)
            return false;
        points->list = grown;
        points->capacity = capacity;
    }
    points->list[points->count++] = point;
    return true;
}

/* A line that is cut off, as the last one may be, is passed over. */
static bool read_line(struct points *points, const char *line)
{
    json_t *object = json_loads(line, 0, NULL);
    const json_t *step = json_object_get(object, "step"), *loss = json_object_get(object, "loss");
    const bool added = !json_is_integer(step) || !json_is_number(loss) ||
                       add(points, (struct chart_point){.x = (double)json_integer_value(step),
                                                        .y = json_number_value(loss)});
    json_decref(object);
    return added;
}

static enum status read_all(struct points *points, const char *folder)
{
    char path[PATH_MAX], line[LINE_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s/losses.jsonl", folder) >= sizeof path)
        return fail(STATUS_INVALID_ARGUMENT, "%s: the path is too long", folder);
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT)
        return STATUS_OK;
    if (!file)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    enum status status = STATUS_OK;
    while (status == STATUS_OK && fgets(line, sizeof line, file))
        if (!read_line(points, line))
            status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the points of a chart");
    fclose(file);
    return status;
}

/* Neighbours become their mean, so that a chart of any run has at most POINTS_MOST. */
static void thin(struct points *points)
{
    const size_t width = (points->count + POINTS_MOST - 1) / POINTS_MOST;
    size_t kept = 0;
    for (size_t first = 0; width > 1 && first < points->count; first += width, kept++) {
        const size_t end = first + width < points->count ? first + width : points->count;
        struct chart_point mean = {.x = 0};
        for (size_t i = first; i < end; i++) {
            mean.x += points->list[i].x / (double)(end - first);
            mean.y += points->list[i].y / (double)(end - first);
        }
        points->list[kept] = mean;
    }
    if (width > 1)
        points->count = kept;
}

enum status loss_chart_draw(const char *folder, const char *title)
{
    struct points points = {.count = 0};
    enum status status = read_all(&points, folder);
    if (status == STATUS_OK && points.count > 0) {
        thin(&points);
        const struct chart_series series = {
            .name = "loss", .points = points.list, .count = points.count};
        const struct chart chart = {
            .title = title,
            .subtitle = "mean of the tokens that count, in nats",
            .x = {.title = "step", .free = true},
            .y = {.title = "loss", .free = true},
            .series = &series,
            .series_count = 1,
        };
        status = chart_files_draw(&chart, folder, "loss.svg", false);
    }
    free(points.list);
    return status;
}
