/* Owns a canvas of characters while a chart is drawn. Promises lines of at most the width that was
 * asked for, and nothing but ASCII where that was asked for. */
#include "coordinator/bench/chart_terminal.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/chart_axis.h"
#include "proto/printable.h"
#include "proto/utf8.h"

enum {
    COLUMNS_LEAST = 40,
    COLUMNS_MOST = 400,
    ROWS_LEAST = 5,
    ROWS_MOST = 100,
    MARKS = 12,
    COLOURS = 6,
    /* Dots of a braille character. */
    DOTS_ACROSS = 2,
    DOTS_DOWN = 4,
    TICK_COLUMNS = 12, /* that a label of the x axis takes, about */
};

static const char *const marks[MARKS] = {"●", "■", "▲", "◆", "○", "□",
                                         "△", "◇", "★", "✚", "✖", "◉"};
static const char plain_marks[MARKS + 1] = "ox+*#@%&$ABC";
static const char *const paints[COLOURS] = {"\033[34m", "\033[31m", "\033[32m",
                                            "\033[35m", "\033[33m", "\033[36m"};

/* Who drew last in a cell, and what. */
struct cell {
    uint8_t dots;  /* of a braille character */
    char plain;    /* 0: nothing */
    int8_t mark;   /* -1: none */
    int8_t colour; /* -1: grey */
};

struct canvas {
    FILE *file;
    const struct chart *chart;
    const struct chart_terminal *terminal;
    struct chart_span x, y;
    struct cell *cells; /* [rows, columns] */
    int rows, columns;
    int label_columns;
};

/* ---- drawing ---- */

static struct cell *cell_at(struct canvas *canvas, int across, int down)
{
    return &canvas->cells[down / DOTS_DOWN * canvas->columns + across / DOTS_ACROSS];
}

/* One dot, in dots from the top left. */
static void set_dot(struct canvas *canvas, int across, int down, int colour, char plain)
{
    static const uint8_t bits[DOTS_DOWN][DOTS_ACROSS] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    struct cell *cell = cell_at(canvas, across, down);
    cell->dots |= bits[down % DOTS_DOWN][across % DOTS_ACROSS];
    cell->colour = (int8_t)colour;
    cell->plain = plain;
}

static int across_of(const struct canvas *canvas, double x)
{
    return (int)lround(chart_axis_place(&canvas->x, x) * (canvas->columns * DOTS_ACROSS - 1));
}

static int down_of(const struct canvas *canvas, double y)
{
    const double place = fmax(chart_axis_place(&canvas->y, fmax(y, canvas->y.first)), 0);
    return (int)lround((1 - place) * (canvas->rows * DOTS_DOWN - 1));
}

static void draw_segment(struct canvas *canvas, const struct chart_point *from,
                         const struct chart_point *to, enum chart_line line, int colour)
{
    const int across = across_of(canvas, from->x), down = down_of(canvas, from->y);
    const int right = across_of(canvas, to->x) - across, below = down_of(canvas, to->y) - down;
    const int steps = abs(right) > abs(below) ? abs(right) : abs(below);
    for (int i = 0; i <= steps; i++) {
        const double part = steps ? (double)i / steps : 0;
        if (line == CHART_SOLID || i / 3 % 2 == 0)
            set_dot(canvas, across + (int)lround(part * right), down + (int)lround(part * below),
                    colour, line == CHART_SOLID ? '.' : '-');
    }
}

static void draw_error(struct canvas *canvas, const struct chart_series *series, size_t i,
                       int colour)
{
    const struct chart_point *point = &series->points[i];
    const double below = chart_below(series, i);
    if (!isfinite(point->error) || (point->error <= 0 && !(below > 0)))
        return;
    const double low = fmax(point->y - below, canvas->y.first);
    for (int down = down_of(canvas, point->y + point->error); down <= down_of(canvas, low); down++)
        set_dot(canvas, across_of(canvas, point->x), down, colour, '|');
}

static void draw_lines(struct canvas *canvas, size_t number)
{
    const struct chart_series *series = &canvas->chart->series[number];
    const int colour = chart_colour(canvas->chart, number);
    const struct chart_point *last = NULL;
    for (size_t i = 0; i < series->count; i++) {
        const struct chart_point *point = &series->points[i];
        const bool shown = chart_shows(canvas->chart, point);
        if (shown)
            draw_segment(canvas, last ? last : point, point, series->line, colour);
        if (shown && series->line == CHART_SOLID)
            draw_error(canvas, series, i, colour);
        last = shown ? point : NULL;
    }
}

static void draw_marks(struct canvas *canvas, size_t number)
{
    const struct chart_series *series = &canvas->chart->series[number];
    for (size_t i = 0; i < series->count && series->line == CHART_SOLID; i++) {
        if (!chart_shows(canvas->chart, &series->points[i]) ||
            !chart_marks(canvas->chart, number, i))
            continue;
        struct cell *cell = cell_at(canvas, across_of(canvas, series->points[i].x),
                                    down_of(canvas, series->points[i].y));
        cell->colour = cell->mark = (int8_t)chart_colour(canvas->chart, number);
    }
}

/* ---- writing ---- */

static void paint(const struct canvas *canvas, int colour)
{
    if (!canvas->terminal->plain && canvas->terminal->colour)
        fputs(colour < 0 ? "\033[2m" : paints[colour % COLOURS], canvas->file);
}

static void unpaint(const struct canvas *canvas)
{
    if (!canvas->terminal->plain && canvas->terminal->colour)
        fputs("\033[0m", canvas->file);
}

static const char *either(const struct canvas *canvas, const char *drawn, const char *plain)
{
    return canvas->terminal->plain ? plain : drawn;
}

static void write_mark(const struct canvas *canvas, int mark)
{
    if (canvas->terminal->plain)
        fputc(plain_marks[mark % MARKS], canvas->file);
    else
        fputs(marks[mark % MARKS], canvas->file);
}

static void write_cell(const struct canvas *canvas, const struct cell *cell)
{
    if (!cell->plain) {
        fputc(' ', canvas->file);
        return;
    }
    paint(canvas, cell->colour);
    if (cell->mark >= 0)
        write_mark(canvas, cell->mark);
    else if (canvas->terminal->plain)
        fputc(cell->plain, canvas->file);
    else /* U+2800 and the dots */
        fprintf(canvas->file, "\xe2%c%c", 0xa0 + (cell->dots >> 6), 0x80 + (cell->dots & 0x3f));
    unpaint(canvas);
}

/* How many characters of a text fit; `*bytes`, how many bytes those are. */
static int fitting(const char *text, int room, size_t *bytes)
{
    int characters = 0;
    size_t length = strlen(text), at = 0;
    while (at < length && characters < room) {
        const int step = utf8_sequence(text + at, length - at);
        at += step > 0 ? (size_t)step : 1;
        characters++;
    }
    *bytes = at < length ? at : length;
    return characters;
}

/* At most `room` characters; ASCII only where that was asked for. Returns how many. */
static int write_text(const struct canvas *canvas, const char *text, int room)
{
    size_t bytes;
    const int characters = fitting(text, room, &bytes);
    if (!canvas->terminal->plain) {
        printable_write_line(canvas->file, text, bytes);
        return characters;
    }
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        if ((c & 0xc0) != 0x80)
            fputc(c >= 0x20 && c < 0x7f ? c : '?', canvas->file);
    }
    return characters;
}

/* The row in which a tick stands. */
static int row_of(const struct canvas *canvas, const struct chart_tick *tick)
{
    return down_of(canvas, tick->value) / DOTS_DOWN;
}

static const char *label_of_row(const struct canvas *canvas, int row)
{
    for (size_t i = 0; i < canvas->y.tick_count; i++)
        if (row_of(canvas, &canvas->y.ticks[i]) == row)
            return canvas->y.ticks[i].label;
    return NULL;
}

static void write_rows(const struct canvas *canvas)
{
    for (int row = 0; row < canvas->rows; row++) {
        const char *label = label_of_row(canvas, row);
        int last = canvas->columns - 1;
        while (last >= 0 && !canvas->cells[row * canvas->columns + last].plain)
            last--;
        fprintf(canvas->file, "%*s %s", canvas->label_columns, label ? label : "",
                label ? either(canvas, "┤", "+") : either(canvas, "│", "|"));
        for (int column = 0; column <= last; column++)
            write_cell(canvas, &canvas->cells[row * canvas->columns + column]);
        fputc('\n', canvas->file);
    }
}

static bool has_x_tick(const struct canvas *canvas, int column)
{
    for (size_t i = 0; i < canvas->x.tick_count; i++)
        if (across_of(canvas, canvas->x.ticks[i].value) / DOTS_ACROSS == column)
            return true;
    return false;
}

static void write_x_axis(const struct canvas *canvas)
{
    char labels[COLUMNS_MOST + CHART_AXIS_LABEL_BYTES];
    memset(labels, ' ', sizeof labels);
    fprintf(canvas->file, "%*s %s", canvas->label_columns, "", either(canvas, "└", "+"));
    for (int column = 0; column < canvas->columns; column++)
        fputs(has_x_tick(canvas, column) ? either(canvas, "┴", "+") : either(canvas, "─", "-"),
              canvas->file);
    int end = 0;
    for (size_t i = 0; i < canvas->x.tick_count; i++) {
        const char *label = canvas->x.ticks[i].label;
        const int length = (int)strlen(label);
        int at = across_of(canvas, canvas->x.ticks[i].value) / DOTS_ACROSS - (length - 1) / 2;
        if (at > canvas->columns - length)
            at = canvas->columns - length;
        if (at < 0)
            at = 0;
        if (end > 0 && at <= end)
            continue;
        memcpy(labels + at, label, (size_t)length);
        end = at + length;
    }
    fprintf(canvas->file, "\n%*s  %.*s\n", canvas->label_columns, "", end, labels);
}

static void write_axis_title(const struct canvas *canvas, const struct chart_axis *axis, int room)
{
    int used = write_text(canvas, axis->title, room);
    if (axis->unit && room - used > 2) {
        fputs(", ", canvas->file);
        write_text(canvas, axis->unit, room - used - 2);
    }
    fputc('\n', canvas->file);
}

static void write_legend(const struct canvas *canvas)
{
    for (size_t i = 0; i < canvas->chart->series_count; i++) {
        const struct chart_series *series = &canvas->chart->series[i];
        const int colour = chart_colour(canvas->chart, i);
        fprintf(canvas->file, "%*s  ", canvas->label_columns, "");
        paint(canvas, colour);
        if (series->line == CHART_SOLID)
            write_mark(canvas, colour);
        else
            fputs(either(canvas, "╌", "-"), canvas->file);
        unpaint(canvas);
        fputc(' ', canvas->file);
        write_text(canvas, series->name, canvas->columns - 2);
        fputc('\n', canvas->file);
    }
}

/* ---- the whole ---- */

static int within(int value, int least, int most)
{
    return value < least ? least : value > most ? most : value;
}

static int ticks_in(int room, int each)
{
    return within(room / each, 2, CHART_AXIS_TICKS_MAX - 3);
}

static enum status make_canvas(struct canvas *canvas)
{
    const int width = within(canvas->terminal->columns, COLUMNS_LEAST, COLUMNS_MOST);
    canvas->rows = within(canvas->terminal->rows, ROWS_LEAST, ROWS_MOST);
    chart_axis_spans(&canvas->x, &canvas->y, canvas->chart, ticks_in(width, TICK_COLUMNS),
                     ticks_in(canvas->rows, 3));
    for (size_t i = 0; i < canvas->y.tick_count; i++) {
        const int length = (int)strlen(canvas->y.ticks[i].label);
        if (length > canvas->label_columns)
            canvas->label_columns = length;
    }
    canvas->columns = width - canvas->label_columns - 2;
    canvas->cells = calloc((size_t)(canvas->rows * canvas->columns), sizeof *canvas->cells);
    if (!canvas->cells)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chart of %d columns", width);
    for (int i = 0; i < canvas->rows * canvas->columns; i++)
        canvas->cells[i].mark = -1;
    return STATUS_OK;
}

enum status chart_terminal_write(FILE *file, const struct chart *chart,
                                 const struct chart_terminal *terminal)
{
    TRY(chart_check(chart));
    struct canvas canvas = {.file = file, .chart = chart, .terminal = terminal};
    TRY(make_canvas(&canvas));
    /* What was measured lies above what it is held against. */
    for (size_t i = 0; i < chart->series_count; i++)
        if (chart->series[i].line != CHART_SOLID)
            draw_lines(&canvas, i);
    for (size_t i = 0; i < chart->series_count; i++)
        if (chart->series[i].line == CHART_SOLID)
            draw_lines(&canvas, i);
    for (size_t i = 0; i < chart->series_count; i++)
        draw_marks(&canvas, i);
    const int width = canvas.label_columns + 2 + canvas.columns;
    write_text(&canvas, chart->title, width);
    fputc('\n', file);
    if (chart->subtitle) {
        write_text(&canvas, chart->subtitle, width);
        fputc('\n', file);
    }
    write_axis_title(&canvas, &chart->y, width);
    write_rows(&canvas);
    write_x_axis(&canvas);
    fprintf(file, "%*s  ", canvas.label_columns, "");
    write_axis_title(&canvas, &chart->x, canvas.columns);
    write_legend(&canvas);
    free(canvas.cells);
    return STATUS_OK;
}
