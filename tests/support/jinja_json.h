/* Template values from JSON: what a conversation brings, such as tools. */
#pragma once

#include <jansson.h>

#include "coordinator/jinja/jinja_value.h"
#include "proto/status.h"

/* Texts are borrowed from the JSON, and are not own text. OUT_OF_RANGE for more lists
 * and objects in each other than 64. */
MUST_CHECK enum status jinja_json_value(struct jinja_value *value, struct jinja_arena *arena,
                                        const json_t *json);
