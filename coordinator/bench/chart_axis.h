/* Where an axis begins and ends, and its round ticks. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/bench/chart.h"

enum { CHART_AXIS_TICKS_MAX = 16, CHART_AXIS_LABEL_BYTES = 24 };

struct chart_tick {
    double value;
    char label[CHART_AXIS_LABEL_BYTES]; /* "1,000", "8k", "0.5" */
};

struct chart_span {
    enum chart_scale scale;
    double first, last;                            /* first < last; above 0 on logarithmic scales */
    struct chart_tick ticks[CHART_AXIS_TICKS_MAX]; /* ascending, within [first, last] */
    size_t tick_count;
};

/* Whether an axis of that scale can show it. */
bool chart_axis_shows(enum chart_scale scale, double value);

/* Of an axis whose values lie in [least, most], which it can show; at most about `ticks_wanted`
 * ticks. By itself for tests. */
void chart_axis_span(struct chart_span *span, const struct chart_axis *axis, double least,
                     double most, int ticks_wanted);

/* The same of all points of a chart that both axes can show, error bars included. */
void chart_axis_spans(struct chart_span *x, struct chart_span *y, const struct chart *chart,
                      int x_ticks, int y_ticks);

/* 0 at the span's first, 1 at its last. */
double chart_axis_place(const struct chart_span *span, double value);
