/* Owns the look of charts on pages: colours that people who are blind to some can tell apart, each
 * with a mark of its own. Promises well-formed XML whatever the texts hold. */
#include "coordinator/bench/chart_svg.h"

#include <math.h>
#include <string.h>

#include "coordinator/bench/chart_axis.h"
#include "coordinator/bench/svg_text.h"

enum {
    WIDTH = 760,
    PLOT_HEIGHT = 320,
    LEFT = 68,
    RIGHT = 28,
    BELOW = 58, /* ticks' labels and the axis's title */
    LEGEND_ROW = 20,
    MARK = 4,  /* pixels from its centre */
    CAP = 3,   /* of an error bar */
    ASIDE = 7, /* between series whose marks stand beside each other */
    COLOURS = 7,
    MARKS = 4,
    X_TICKS = 9,
    Y_TICKS = 6,
};

/* Those of Okabe and Ito that are seen on white. */
static const char *const colours[COLOURS] = {"#0072b2", "#d55e00", "#009e73", "#aa4499",
                                             "#b58900", "#3a9bdc", "#333333"};
static const char grey[] = "#707070";

struct drawing {
    FILE *file;
    const struct chart *chart;
    struct chart_span x, y;
    double top;   /* of the plot */
    double aside; /* pixels to the right, of the series that is drawn */
};

/* ---- text ---- */

static void write_axis_title(FILE *file, double x, double y, const char *more,
                             const struct chart_axis *axis)
{
    fprintf(file, "<text x=\"%.1f\" y=\"%.1f\"%s>", x, y, more);
    svg_text_escape(file, axis->title);
    if (axis->unit) {
        fputs(", ", file);
        svg_text_escape(file, axis->unit);
    }
    fputs("</text>\n", file);
}

/* ---- places ---- */

static double x_of(const struct drawing *drawing, double value)
{
    return LEFT + chart_axis_place(&drawing->x, value) * (WIDTH - LEFT - RIGHT) + drawing->aside;
}

static double y_of(const struct drawing *drawing, double value)
{
    return drawing->top + (1 - chart_axis_place(&drawing->y, value)) * PLOT_HEIGHT;
}

/* ---- series ---- */

static const char *colour_of(const struct chart *chart, size_t series)
{
    const int number = chart_colour(chart, series);
    return number < 0 ? grey : colours[number % COLOURS];
}

static void draw_mark(FILE *file, int number, double x, double y)
{
    switch (number % MARKS) {
    case 0:
        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%d\"/>\n", x, y, MARK);
        break;
    case 1:
        fprintf(file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\"/>\n", x - MARK + 0.5,
                y - MARK + 0.5, 2 * MARK - 1, 2 * MARK - 1);
        break;
    case 2:
        fprintf(file, "<path d=\"M%.1f %.1fl%d %dh%dz\"/>\n", x, y - MARK - 0.5, MARK + 1, 2 * MARK,
                -2 * MARK - 2);
        break;
    default:
        fprintf(file, "<path d=\"M%.1f %.1fl%d %dl%d %dl%d %dz\"/>\n", x, y - MARK - 1, MARK + 1,
                MARK + 1, -MARK - 1, MARK + 1, -MARK - 1, -MARK - 1);
        break;
    }
}

static const char *dashes_of(const struct chart_series *series)
{
    return series->line == CHART_SOLID ? "" : " stroke-dasharray=\"6 4\"";
}

static void draw_line(const struct drawing *drawing, const struct chart_series *series)
{
    bool joined = false;
    fprintf(drawing->file,
            "<path fill=\"none\" stroke-width=\"%s\" stroke-linejoin=\"round\"%s d=\"",
            series->line == CHART_SOLID ? "2" : "1.5", dashes_of(series));
    for (size_t i = 0; i < series->count; i++) {
        const struct chart_point *point = &series->points[i];
        const bool shown = chart_shows(drawing->chart, point);
        if (shown)
            fprintf(drawing->file, "%c%.1f %.1f", joined ? 'L' : 'M', x_of(drawing, point->x),
                    y_of(drawing, point->y));
        joined = shown;
    }
    fputs("\"/>\n", drawing->file);
}

static void draw_error(const struct drawing *drawing, const struct chart_series *series, size_t i)
{
    const struct chart_point *point = &series->points[i];
    const double below = chart_below(series, i);
    if (!isfinite(point->error) || (point->error <= 0 && !(below > 0)))
        return;
    const double low = fmax(point->y - below, drawing->y.first);
    fprintf(drawing->file,
            "<path stroke-width=\"1\" d=\"M%.1f %.1fV%.1fm%d 0h%dM%.1f %.1fh%d\"/>\n",
            x_of(drawing, point->x), y_of(drawing, low), y_of(drawing, point->y + point->error),
            -CAP, 2 * CAP, x_of(drawing, point->x) - CAP, y_of(drawing, low), 2 * CAP);
}

/* Above and to the right, in the series' colour. */
static void draw_label(const struct drawing *drawing, const char *label, double x, double y)
{
    const bool at_end = x + svg_text_width(label) > WIDTH - 4;
    svg_text_write(drawing->file, at_end ? x - 7 : x + 7, y - 7,
                   at_end ? " stroke=\"none\" text-anchor=\"end\"" : " stroke=\"none\"", label);
}

static void draw_series(struct drawing *drawing, size_t number)
{
    const struct chart_series *series = &drawing->chart->series[number];
    const char *colour = colour_of(drawing->chart, number);
    if (drawing->chart->beside)
        drawing->aside = ASIDE * ((double)number - (double)(drawing->chart->series_count - 1) / 2);
    fprintf(drawing->file, "<g stroke=\"%s\" fill=\"%s\">\n", colour, colour);
    draw_line(drawing, series);
    for (size_t i = 0; i < series->count && series->line == CHART_SOLID; i++) {
        const struct chart_point *point = &series->points[i];
        if (!chart_shows(drawing->chart, point))
            continue;
        draw_error(drawing, series, i);
        if (!chart_marks(drawing->chart, number, i))
            continue;
        draw_mark(drawing->file, chart_colour(drawing->chart, number), x_of(drawing, point->x),
                  y_of(drawing, point->y));
        if (series->labels)
            draw_label(drawing, series->labels[i], x_of(drawing, point->x),
                       y_of(drawing, point->y));
    }
    fputs("</g>\n", drawing->file);
}

/* ---- the legend ---- */

enum { SAMPLE_WIDTH = 26, BETWEEN = 20 };

/* Draws it where `file` is not NULL; returns its height. */
static double draw_legend(FILE *file, const struct chart *chart, double top)
{
    double x = LEFT, y = top + LEGEND_ROW / 2.0;
    for (size_t i = 0; i < chart->series_count; i++) {
        const struct chart_series *series = &chart->series[i];
        const double width = SAMPLE_WIDTH + 6 + svg_text_width(series->name);
        if (x > LEFT && x + width > WIDTH - RIGHT) {
            x = LEFT;
            y += LEGEND_ROW;
        }
        if (file) {
            fprintf(file,
                    "<g stroke=\"%s\" fill=\"%s\"><path stroke-width=\"2\"%s d=\"M%.1f "
                    "%.1fh%d\"/>\n",
                    colour_of(chart, i), colour_of(chart, i), dashes_of(series), x, y,
                    SAMPLE_WIDTH);
            if (series->line == CHART_SOLID)
                draw_mark(file, chart_colour(chart, i), x + SAMPLE_WIDTH / 2.0, y);
            fputs("</g>\n", file);
            svg_text_write(file, x + SAMPLE_WIDTH + 6, y + 4, "", series->name);
        }
        x += width + BETWEEN;
    }
    return y + LEGEND_ROW / 2.0 - top;
}

/* ---- axes ---- */

static void draw_axes(const struct drawing *drawing)
{
    FILE *file = drawing->file;
    const double bottom = drawing->top + PLOT_HEIGHT;
    fputs("<g stroke=\"#e2e2e2\">\n", file);
    for (size_t i = 0; i < drawing->y.tick_count; i++)
        fprintf(file, "<path d=\"M%d %.1fH%d\"/>\n", LEFT, y_of(drawing, drawing->y.ticks[i].value),
                WIDTH - RIGHT);
    for (size_t i = 0; i < drawing->x.tick_count; i++)
        fprintf(file, "<path d=\"M%.1f %.1fV%.1f\"/>\n", x_of(drawing, drawing->x.ticks[i].value),
                drawing->top, bottom);
    fputs("</g>\n", file);
    fprintf(file, "<path stroke=\"#444\" fill=\"none\" d=\"M%d %.1fV%.1fH%d\"/>\n", LEFT,
            drawing->top, bottom, WIDTH - RIGHT);
    for (size_t i = 0; i < drawing->y.tick_count; i++)
        svg_text_write(file, LEFT - 8, y_of(drawing, drawing->y.ticks[i].value) + 4,
                       " text-anchor=\"end\"", drawing->y.ticks[i].label);
    for (size_t i = 0; i < drawing->x.tick_count; i++)
        svg_text_write(file, x_of(drawing, drawing->x.ticks[i].value), bottom + 18,
                       " text-anchor=\"middle\"", drawing->x.ticks[i].label);
    write_axis_title(file, (LEFT + WIDTH - RIGHT) / 2.0, bottom + 42, " text-anchor=\"middle\"",
                     &drawing->chart->x);
    write_axis_title(file, LEFT, drawing->top - 10, "", &drawing->chart->y);
}

enum status chart_svg_write(FILE *file, const struct chart *chart)
{
    TRY(chart_check(chart));
    struct drawing drawing = {.file = file, .chart = chart};
    chart_axis_spans(&drawing.x, &drawing.y, chart, X_TICKS, Y_TICKS);
    const double head = chart->subtitle ? 56 : 38;
    drawing.top = head + draw_legend(NULL, chart, head) + 30;
    const double height = drawing.top + PLOT_HEIGHT + BELOW;
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%.0f\" "
            "viewBox=\"0 0 %d %.0f\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', "
            "sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>",
            WIDTH, height, WIDTH, height);
    svg_text_escape(file, chart->title);
    fprintf(file, "</title>\n<rect width=\"%d\" height=\"%.0f\" fill=\"#fff\"/>\n", WIDTH, height);
    svg_text_write(file, LEFT, 28, " font-size=\"16\" font-weight=\"600\"", chart->title);
    if (chart->subtitle)
        svg_text_write(file, LEFT, 48, " fill=\"#666\"", chart->subtitle);
    draw_legend(file, chart, head);
    draw_axes(&drawing);
    for (size_t i = 0; i < chart->series_count; i++)
        draw_series(&drawing, i);
    fputs("</svg>\n", file);
    return STATUS_OK;
}
