/* A chart as one SVG file without scripts, styles or fonts from elsewhere. */
#pragma once

#include <stdio.h>

#include "coordinator/bench/chart.h"

/* Texts may hold any bytes: they are escaped, and what is no character becomes U+FFFD. As with
 * fwrite, what cannot be written is found by ferror. INVALID_ARGUMENT as chart_check. */
MUST_CHECK enum status chart_svg_write(FILE *file, const struct chart *chart);
