/* A chart where it is wanted: as a file of --out, and on standard output. */
#pragma once

#include <stdbool.h>

#include "coordinator/bench/chart.h"
#include "coordinator/bench/heat_map.h"
#include "proto/status.h"

/* `folder` NULL: no file. `shown`: in characters on standard output, plain unless that is a
 * terminal. */
MUST_CHECK enum status chart_files_draw(const struct chart *chart, const char *folder,
                                        const char *name, bool shown);

/* The same of a heat map. */
MUST_CHECK enum status chart_files_draw_map(const struct heat_map *map, const char *folder,
                                            const char *name, bool shown);
