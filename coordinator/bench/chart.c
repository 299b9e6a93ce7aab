/* Owns nothing. Promises that what passes chart_check can be drawn. */
#include "coordinator/bench/chart.h"

#include "coordinator/bench/chart_axis.h"

bool chart_shows(const struct chart *chart, const struct chart_point *point)
{
    return chart_axis_shows(chart->x.scale, point->x) && chart_axis_shows(chart->y.scale, point->y);
}

enum { SPARSE_MARKS = 8 };

/* Each line at other points than its neighbours, so that lines that lie on each other are told
 * apart. */
bool chart_marks(const struct chart *chart, size_t series, size_t point)
{
    const size_t stride = chart->series[series].count / SPARSE_MARKS;
    return !chart->sparse || stride < 2 || point % stride == series % stride;
}

double chart_below(const struct chart_series *series, size_t point)
{
    return series->below ? series->below[point] : series->points[point].error;
}

enum status chart_check(const struct chart *chart)
{
    if (chart->series_count == 0 || chart->series_count > CHART_SERIES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "chart \"%s\": %zu series; 1 to %d can be drawn",
                    chart->title, chart->series_count, CHART_SERIES_MAX);
    for (size_t i = 0; i < chart->series_count; i++)
        for (size_t k = 0; k < chart->series[i].count; k++)
            if (chart_shows(chart, &chart->series[i].points[k]))
                return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "chart \"%s\": no point that its axes can show",
                chart->title);
}

int chart_colour(const struct chart *chart, size_t series)
{
    int solid = -1;
    for (size_t i = 0; i <= series; i++)
        solid += chart->series[i].line == CHART_SOLID;
    return chart->series[series].line == CHART_REFERENCE ? -1 : solid;
}
