/* A JSON file, written whole. */
#pragma once

#include <jansson.h>

#include "proto/status.h"

/* Takes `json`; NULL stands for one that ran out of memory. */
MUST_CHECK enum status output_json_write(const char *path, json_t *json);

/* The float64 with the fewest digits that is `value` in float32: 1e-5, not
 * 9.9999997473787516e-06. */
double output_json_float(float value);
