/* Owns the look of heat maps: from dark violet over green to light yellow, which people who are
 * blind to some colours tell apart, and which stays in order on grey paper. */
#include "coordinator/bench/heat_map.h"

#include <math.h>
#include <string.h>

#include "coordinator/bench/svg_text.h"
#include "proto/printable.h"

enum {
    CELL_WIDTH = 46,
    CELL_HEIGHT = 26,
    LEFT = 68,
    BETWEEN = 28, /* panels */
    NAME = 24,    /* above a panel */
    BELOW = 48,   /* its labels and the title of its columns */
    WIDTH_MOST = 980,
    WIDTH_LEAST = 420,
    LABEL_COLUMNS = 8,
};

enum status heat_map_check(const struct heat_map *map)
{
    if (map->panel_count > 0 && map->panel_count <= HEAT_MAP_PANELS_MAX && map->rows > 0 &&
        map->rows <= HEAT_MAP_CELLS_MAX && map->columns > 0 && map->columns <= HEAT_MAP_CELLS_MAX)
        return STATUS_OK;
    return fail(
        STATUS_INVALID_ARGUMENT,
        "heat map \"%s\": %zu panels of %zu rows and %zu columns; 1 to %d of 1 to %d can be "
        "drawn",
        map->title, map->panel_count, map->rows, map->columns, HEAT_MAP_PANELS_MAX,
        HEAT_MAP_CELLS_MAX);
}

/* Nine points of viridis (S. van der Walt and N. Smith, 2015), straight lines between. */
void heat_map_colour(double value, int rgb[3])
{
    static const unsigned char points[][3] = {{68, 1, 84},    {71, 45, 123},  {59, 82, 139},
                                              {44, 114, 142}, {33, 145, 140}, {40, 174, 128},
                                              {94, 201, 98},  {173, 220, 48}, {253, 231, 37}};
    enum { LAST = sizeof points / sizeof points[0] - 1 };
    const double place = fmin(fmax(value, 0), 1) * LAST;
    const int low = place >= LAST ? LAST - 1 : (int)place;
    for (int i = 0; i < 3; i++)
        rgb[i] =
            (int)lround(points[low][i] + (place - low) * (points[low + 1][i] - points[low][i]));
}

static bool is_dark(double value)
{
    return value < 0.55;
}

static double value_at(const struct heat_map *map, size_t panel, size_t row, size_t column)
{
    return map->panels[panel].values[row * map->columns + column];
}

/* ---- SVG ---- */

struct layout {
    size_t across; /* panels in a row */
    double panel_width, panel_height, top, width, height;
};

static struct layout lay_out(const struct heat_map *map)
{
    struct layout layout = {.top = map->subtitle ? 64 : 46};
    layout.panel_width = (double)map->columns * CELL_WIDTH;
    layout.panel_height = NAME + (double)map->rows * CELL_HEIGHT + BELOW;
    for (size_t i = 0; i < map->panel_count; i++) /* a long name needs its width */
        layout.panel_width = fmax(layout.panel_width, 1.1 * svg_text_width(map->panels[i].name));
    const double room = (WIDTH_MOST - LEFT) / (layout.panel_width + BETWEEN);
    layout.across = room < 1 ? 1 : (size_t)room;
    if (layout.across > map->panel_count)
        layout.across = map->panel_count;
    layout.width = LEFT + (double)layout.across * (layout.panel_width + BETWEEN);
    layout.width = fmax(fmax(layout.width, WIDTH_LEAST), svg_text_width(map->title) * 1.4 + LEFT);
    if (map->subtitle)
        layout.width = fmax(layout.width, svg_text_width(map->subtitle) + LEFT);
    const size_t down = (map->panel_count + layout.across - 1) / layout.across;
    layout.height = layout.top + (double)down * layout.panel_height + 44;
    return layout;
}

static void draw_cell(FILE *file, double x, double y, double value)
{
    int rgb[3];
    char text[16];
    if (!isfinite(value)) {
        fprintf(file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"#eee\"/>\n", x,
                y, CELL_WIDTH - 1, CELL_HEIGHT - 1);
        return;
    }
    heat_map_colour(value, rgb);
    snprintf(text, sizeof text, "%.0f", 100 * value);
    fprintf(file,
            "<rect x=\"%.1f\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill=\"#%02x%02x%02x\"/>\n", x,
            y, CELL_WIDTH - 1, CELL_HEIGHT - 1, rgb[0], rgb[1], rgb[2]);
    svg_text_write(file, x + CELL_WIDTH / 2.0, y + CELL_HEIGHT / 2.0 + 4,
                   is_dark(value) ? " text-anchor=\"middle\" fill=\"#fff\""
                                  : " text-anchor=\"middle\" fill=\"#222\"",
                   text);
}

static void draw_panel(FILE *file, const struct heat_map *map, size_t panel, double x, double y,
                       bool first)
{
    const double top = y + NAME, bottom = top + (double)map->rows * CELL_HEIGHT;
    svg_text_write(file, x, y + 14, " font-weight=\"600\"", map->panels[panel].name);
    for (size_t r = 0; r < map->rows; r++)
        for (size_t c = 0; c < map->columns; c++)
            draw_cell(file, x + (double)c * CELL_WIDTH, top + (double)r * CELL_HEIGHT,
                      value_at(map, panel, r, c));
    for (size_t r = 0; first && r < map->rows; r++)
        svg_text_write(file, x - 8, top + ((double)r + 0.5) * CELL_HEIGHT + 4,
                       " text-anchor=\"end\"", map->row_labels[r]);
    if (first)
        svg_text_write(file, x - 8, y + 14, " text-anchor=\"end\" fill=\"#666\"", map->row_title);
    for (size_t c = 0; c < map->columns; c++)
        svg_text_write(file, x + ((double)c + 0.5) * CELL_WIDTH, bottom + 16,
                       " text-anchor=\"middle\"", map->column_labels[c]);
    svg_text_write(file, x + (double)map->columns * CELL_WIDTH / 2, bottom + 34,
                   " text-anchor=\"middle\" fill=\"#666\"", map->column_title);
}

/* The colours, from 0 to 100. */
static void draw_scale(FILE *file, double y)
{
    enum { STEPS = 50, STEP = 4 };
    for (int i = 0; i < STEPS; i++) {
        int rgb[3];
        heat_map_colour((i + 0.5) / STEPS, rgb);
        fprintf(file,
                "<rect x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"10\" "
                "fill=\"#%02x%02x%02x\"/>\n",
                LEFT + STEP * i, y, STEP + 1, rgb[0], rgb[1], rgb[2]);
    }
    svg_text_write(file, LEFT, y + 24, "", "0");
    svg_text_write(file, LEFT + STEPS * STEP, y + 24, " text-anchor=\"end\"", "100 % found");
}

enum status heat_map_svg_write(FILE *file, const struct heat_map *map)
{
    TRY(heat_map_check(map));
    const struct layout layout = lay_out(map);
    fprintf(file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
            "viewBox=\"0 0 %.0f %.0f\" role=\"img\" font-family=\"system-ui, 'DejaVu Sans', "
            "sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>",
            layout.width, layout.height, layout.width, layout.height);
    svg_text_escape(file, map->title);
    fprintf(file, "</title>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#fff\"/>\n", layout.width,
            layout.height);
    svg_text_write(file, LEFT, 28, " font-size=\"16\" font-weight=\"600\"", map->title);
    if (map->subtitle)
        svg_text_write(file, LEFT, 48, " fill=\"#666\"", map->subtitle);
    for (size_t i = 0; i < map->panel_count; i++)
        draw_panel(
            file, map, i, LEFT + (double)(i % layout.across) * (layout.panel_width + BETWEEN),
            layout.top + (double)(i / layout.across) * layout.panel_height, i % layout.across == 0);
    draw_scale(file, layout.height - 40);
    fputs("</svg>\n", file);
    return STATUS_OK;
}

/* ---- characters ---- */

static void write_line(FILE *file, const char *text, bool plain)
{
    if (!plain) {
        printable_write_line(file, text, strlen(text));
        return;
    }
    for (; *text; text++)
        if (((unsigned char)*text & 0xc0) != 0x80)
            fputc(*text >= 0x20 && *text < 0x7f ? *text : '?', file);
}

static void write_cell(FILE *file, double value, bool colour)
{
    int rgb[3];
    char text[16];
    snprintf(text, sizeof text, isfinite(value) ? "%.0f" : "-", 100 * value);
    if (!colour || !isfinite(value)) {
        fprintf(file, "%6s ", text);
        return;
    }
    heat_map_colour(value, rgb);
    fprintf(file, "\033[48;2;%d;%d;%dm\033[%sm%6s \033[0m", rgb[0], rgb[1], rgb[2],
            is_dark(value) ? "97" : "30", text);
}

static void write_panel(FILE *file, const struct heat_map *map, size_t panel, bool plain,
                        bool colour)
{
    fputs("  ", file);
    write_line(file, map->panels[panel].name, plain);
    fprintf(file, "\n%*s", LABEL_COLUMNS + 1, "");
    for (size_t c = 0; c < map->columns; c++)
        fprintf(file, "%6.6s ", map->column_labels[c]);
    fputc('\n', file);
    for (size_t r = 0; r < map->rows; r++) {
        fprintf(file, "%*.*s ", LABEL_COLUMNS, LABEL_COLUMNS, map->row_labels[r]);
        for (size_t c = 0; c < map->columns; c++)
            write_cell(file, value_at(map, panel, r, c), colour);
        fputc('\n', file);
    }
}

enum status heat_map_terminal_write(FILE *file, const struct heat_map *map, bool plain, bool colour)
{
    TRY(heat_map_check(map));
    write_line(file, map->title, plain);
    fputc('\n', file);
    if (map->subtitle) {
        write_line(file, map->subtitle, plain);
        fputc('\n', file);
    }
    for (size_t i = 0; i < map->panel_count; i++)
        write_panel(file, map, i, plain, colour && !plain);
    return STATUS_OK;
}
