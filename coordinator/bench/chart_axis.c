/* Owns nothing. Promises round ticks, and that every value it was given lies in the span. */
#include "coordinator/bench/chart_axis.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Of a quotient that should be whole and is a rounding away from it. */
static const double SLACK = 1e-9;

bool chart_axis_shows(enum chart_scale scale, double value)
{
    return isfinite(value) && (scale == CHART_LINEAR || value > 0);
}

/* ---- labels ---- */

static void write_label(char label[CHART_AXIS_LABEL_BYTES], double value, double unit, int decimals)
{
    static const char *const names[] = {"", "k", "M", "G", "T", "P"};
    int name = 0;
    for (double rest = unit; rest > 1; rest /= 1000)
        name++;
    const double scaled = value / unit;
    if (decimals == 0 && fabs(scaled) >= 1000 && fabs(scaled) < 1e6)
        snprintf(label, CHART_AXIS_LABEL_BYTES, "%s%d,%03d%s", scaled < 0 ? "-" : "",
                 (int)fabs(scaled) / 1000, (int)fabs(scaled) % 1000, names[name]);
    else
        snprintf(label, CHART_AXIS_LABEL_BYTES, "%.*f%s", decimals, scaled, names[name]);
}

/* Thousands, millions, ... so that numbers have at most four digits before the point. */
static double unit_of(double most)
{
    double unit = 1;
    while (most / unit >= 1e4 && unit < 1e15)
        unit *= 1000;
    return unit;
}

static void label_linear(struct chart_span *span, double step)
{
    const double unit = unit_of(fmax(fabs(span->first), fabs(span->last)));
    const int digits = (int)ceil(-log10(step / unit) - SLACK);
    for (size_t i = 0; i < span->tick_count; i++) {
        struct chart_tick *tick = &span->ticks[i];
        if (tick->value == 0)
            snprintf(tick->label, sizeof tick->label, "0");
        else if (digits > 4)
            snprintf(tick->label, sizeof tick->label, "%g", tick->value);
        else
            write_label(tick->label, tick->value, unit, digits > 0 ? digits : 0);
    }
}

/* 1,024 tokens are "1k" on an axis of powers of two. */
static void label_power_of_two(struct chart_tick *tick)
{
    static const char *const names[] = {"", "k", "M", "G"};
    int name = 0;
    double value = tick->value;
    for (; name < 3 && value >= 1024; name++)
        value /= 1024;
    snprintf(tick->label, sizeof tick->label, "%g%s", value, names[name]);
}

static void label_decimal(struct chart_tick *tick)
{
    if (tick->value < 1e4 || tick->value >= 1e18)
        snprintf(tick->label, sizeof tick->label, "%g", tick->value);
    else
        write_label(tick->label, tick->value, unit_of(tick->value), 0);
}

/* ---- spans ---- */

/* The least of 1, 2 and 5 times a power of ten that is not below `value`. */
static double round_up(double value)
{
    const double power = pow(10, floor(log10(value)));
    const double digits[] = {1, 2, 5};
    for (int i = 0; i < 3; i++)
        if (value <= digits[i] * power * (1 + SLACK))
            return digits[i] * power;
    return 10 * power;
}

static void span_linear(struct chart_span *span, bool free, double least, double most, int wanted)
{
    if (!free)
        least = fmin(least, 0), most = fmax(most, 0);
    if (least == most)
        most = least + (least != 0 ? fabs(least) / 10 : 1);
    const double step = round_up((most - least) / wanted);
    const double begin = floor(least / step + SLACK), end = ceil(most / step - SLACK);
    span->first = begin * step;
    span->last = end * step;
    for (double i = begin; i <= end && span->tick_count < CHART_AXIS_TICKS_MAX; i++)
        span->ticks[span->tick_count++].value = i == 0 ? 0 : i * step;
    label_linear(span, step);
}

static void span_log2(struct chart_span *span, double least, double most, int wanted)
{
    const int begin = (int)floor(log2(least) + SLACK);
    int end = (int)ceil(log2(most) - SLACK);
    if (end <= begin)
        end = begin + 1;
    const int stride = (end - begin + wanted - 1) / wanted;
    span->first = ldexp(1, begin);
    span->last = ldexp(1, end);
    for (int i = begin; i <= end && span->tick_count < CHART_AXIS_TICKS_MAX; i += stride) {
        span->ticks[span->tick_count].value = ldexp(1, i);
        label_power_of_two(&span->ticks[span->tick_count++]);
    }
}

/* The digits of ticks within a decade: 1, 2, 5 or 1 alone. */
static double decimal_tick(int number, int a_decade)
{
    static const double digits[] = {1, 2, 5};
    const int decade = (int)floor((double)number / a_decade);
    return digits[number - decade * a_decade] * pow(10, decade);
}

static void span_log10(struct chart_span *span, double least, double most, int wanted)
{
    const int a_decade = log10(most / least) * 3 <= wanted ? 3 : 1;
    int begin = (int)floor(log10(least)) * a_decade;
    while (decimal_tick(begin + 1, a_decade) <= least * (1 + SLACK))
        begin++;
    int end = begin + 1;
    while (decimal_tick(end, a_decade) < most * (1 - SLACK))
        end++;
    const int stride = (end - begin + wanted - 1) / wanted;
    span->first = decimal_tick(begin, a_decade);
    span->last = decimal_tick(end, a_decade);
    for (int i = begin; i <= end && span->tick_count < CHART_AXIS_TICKS_MAX; i += stride) {
        span->ticks[span->tick_count].value = decimal_tick(i, a_decade);
        label_decimal(&span->ticks[span->tick_count++]);
    }
}

void chart_axis_span(struct chart_span *span, const struct chart_axis *axis, double least,
                     double most, int ticks_wanted)
{
    assert(least <= most && ticks_wanted >= 2 && ticks_wanted <= CHART_AXIS_TICKS_MAX - 3);
    *span = (struct chart_span){.scale = axis->scale};
    if (axis->scale == CHART_LOG2)
        span_log2(span, least, most, ticks_wanted);
    else if (axis->scale == CHART_LOG10)
        span_log10(span, least, most, ticks_wanted);
    else
        span_linear(span, axis->free, least, fmax(most, axis->reach), ticks_wanted);
}

struct extremes {
    double least, most;
};

static void widen(struct extremes *extremes, double value)
{
    extremes->least = fmin(extremes->least, value);
    extremes->most = fmax(extremes->most, value);
}

void chart_axis_spans(struct chart_span *x, struct chart_span *y, const struct chart *chart,
                      int x_ticks, int y_ticks)
{
    struct extremes across = {INFINITY, -INFINITY}, up = {INFINITY, -INFINITY};
    for (size_t i = 0; i < chart->series_count; i++)
        for (size_t k = 0; k < chart->series[i].count; k++) {
            const struct chart_point *point = &chart->series[i].points[k];
            if (!chart_shows(chart, point))
                continue;
            widen(&across, point->x);
            widen(&up, point->y);
            /* A deviation reaches below nothing where the quantity does not. */
            if (isfinite(point->error)) {
                widen(&up, point->y + point->error);
                const double low = point->y - chart_below(&chart->series[i], k);
                if (low > 0 || point->y < 0)
                    widen(&up, low);
            }
        }
    chart_axis_span(x, &chart->x, across.least, across.most, x_ticks);
    chart_axis_span(y, &chart->y, up.least, up.most, y_ticks);
}

double chart_axis_place(const struct chart_span *span, double value)
{
    if (span->scale == CHART_LINEAR)
        return (value - span->first) / (span->last - span->first);
    return log(value / span->first) / log(span->last / span->first);
}
