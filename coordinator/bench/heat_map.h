/* Heat maps: values in [0, 1] over rows and columns, several panels side by side, as SVG or in
 * characters. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/status.h"

enum { HEAT_MAP_PANELS_MAX = 12, HEAT_MAP_CELLS_MAX = 64 };

struct heat_map_panel {
    const char *name;
    const double *values; /* [rows, columns]; NaN: nothing is known there */
};

struct heat_map {
    const char *title;
    const char *subtitle; /* NULL: none */
    const char *row_title, *column_title;
    const char *const *row_labels;    /* [rows], from the top */
    const char *const *column_labels; /* [columns] */
    size_t rows, columns;
    const struct heat_map_panel *panels; /* [panel_count] */
    size_t panel_count;
};

/* INVALID_ARGUMENT where there are no panels or cells, or too many. By itself for tests. */
MUST_CHECK enum status heat_map_check(const struct heat_map *map);

/* One file without scripts, styles or fonts from elsewhere. As with fwrite, what cannot be written
 * is found by ferror. INVALID_ARGUMENT as heat_map_check. */
MUST_CHECK enum status heat_map_svg_write(FILE *file, const struct heat_map *map);

/* Panels below each other, a value in percent in each cell; with `colour` on a ground that says the
 * same. ASCII where `plain`. */
MUST_CHECK enum status heat_map_terminal_write(FILE *file, const struct heat_map *map, bool plain,
                                               bool colour);

/* The ground of a value: red, green and blue in [0, 255]. By itself for tests. */
void heat_map_colour(double value, int rgb[3]);
