/* A chart in characters, for a terminal or a log. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "coordinator/bench/chart.h"

struct chart_terminal {
    int columns; /* as wide as that at most; less than 40 counts as 40 */
    int rows;    /* of the area in which lines are drawn; less than 5 counts as 5 */
    bool plain;  /* ASCII only, without colours: where no terminal looks on */
    bool colour; /* unless plain */
};

/* INVALID_ARGUMENT as chart_check. */
MUST_CHECK enum status chart_terminal_write(FILE *file, const struct chart *chart,
                                            const struct chart_terminal *terminal);
