/* A step of a tokenizer.json (an object with a type): known by every key that it has, or refused by
 * its name. */
#pragma once

#include "proto/model/json_place.h"
#include "proto/status.h"

/* Whether `value` is this string. */
bool json_step_text_is(const json_t *value, const char *text);

bool json_step_has_type(const json_t *step, const char *type);

/* Whether `step` has none but these keys; NULL ends the list. */
bool json_step_has_keys(const json_t *step, const char *const *known);

/* The steps of a Sequence, under `list_key`, or the one step: *list is NULL for that. */
size_t json_step_count(const json_t *step, const char *list_key, const json_t **list);

/* The step at `index` of those. */
const json_t *json_step_at(const json_t *step, const json_t *list, size_t index);

/* UNIMPLEMENTED: "Sequence[Split, ByteLevel] is not supported; known: `known`". */
MUST_CHECK enum status json_step_refuse(const struct json_place *root, const char *key,
                                        const char *list_key, const char *known);
