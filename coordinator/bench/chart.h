/* Line charts: one description, drawn as SVG (chart_svg.h) or in characters (chart_terminal.h). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

enum chart_scale {
    CHART_LINEAR, /* from 0, unless the axis says otherwise */
    CHART_LOG2,   /* ticks at powers of two: tokens, workers */
    CHART_LOG10,
};

struct chart_axis {
    const char *title; /* "prefill" */
    const char *unit;  /* "tokens/s"; NULL: none */
    enum chart_scale scale;
    bool free;    /* CHART_LINEAR: begins near the least value and not at 0 */
    double reach; /* CHART_LINEAR: goes at least so far; 0: as far as the values */
};

/* A point that is not finite, or not above 0 on a logarithmic axis, is left out and breaks the
 * line. */
struct chart_point {
    double x, y;
    double error; /* the bar reaches so far up and down; 0: none */
};

enum chart_line {
    CHART_SOLID,      /* with a mark at each point */
    CHART_REFERENCE,  /* dashed and grey, without marks: an ideal, a bound */
    CHART_PREDICTION, /* dashed, in the colour of the last solid one before it */
};

struct chart_series {
    const char *name;
    const struct chart_point *points; /* [count], joined as they stand */
    size_t count;
    enum chart_line line;
    const char *const *labels; /* [count], beside each mark of an SVG; NULL: none */
    const double *below;       /* [count], how far bars reach down; NULL: as far as up */
};

enum { CHART_SERIES_MAX = 12 };

struct chart {
    const char *title;
    const char *subtitle; /* what was measured, and where; NULL: none */
    struct chart_axis x, y;
    const struct chart_series *series; /* [series_count] */
    size_t series_count;
    bool beside; /* in an SVG, marks and bars of one x stand beside each other */
    bool sparse; /* lines of many points have marks at a few of them */
};

/* Whether the line has a mark there. */
bool chart_marks(const struct chart *chart, size_t series, size_t point);

/* How far the bar of a point reaches down; 0: not at all. */
double chart_below(const struct chart_series *series, size_t point);

/* INVALID_ARGUMENT where there are no series, too many, or no point that the axes can show. */
MUST_CHECK enum status chart_check(const struct chart *chart);

/* Whether both axes can show it. */
bool chart_shows(const struct chart *chart, const struct chart_point *point);

/* Which colour a series has: 0, 1, ... among the solid ones; -1: grey. */
int chart_colour(const struct chart *chart, size_t series);
