/* The values of a GGUF file's keys, checked when they are asked for.
 *
 * An absent key, or a value of another type or range, is DATA_LOSS with the key named.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/model/gguf.h"
#include "proto/status.h"

/* Any integer type; `first` <= value <= `last`. */
MUST_CHECK enum status gguf_value_integer(const struct gguf *gguf, int64_t *value, const char *key,
                                          int64_t first, int64_t last);

/* Any integer type, a limit from 1 on. Writers put a huge number where nothing is set: more than
 * `most` is as good as no limit, and gives `most`. */
MUST_CHECK enum status gguf_value_limit(const struct gguf *gguf, int64_t *value, const char *key,
                                        int64_t most);

/* f32 or f64, finite. */
MUST_CHECK enum status gguf_value_float(const struct gguf *gguf, double *value, const char *key);

MUST_CHECK enum status gguf_value_bool(const struct gguf *gguf, bool *value, const char *key);

MUST_CHECK enum status gguf_value_text(const struct gguf *gguf, struct text_view *value,
                                       const char *key);

/* An array whose elements are of `type`. */
MUST_CHECK enum status gguf_value_array(const struct gguf *gguf, struct gguf_array *value,
                                        const char *key, enum gguf_type type);

/* The string at `*place`, which moves to the next one: walks the strings of a checked array. */
struct text_view gguf_value_next_string(const uint8_t **place);

/* Element `index` of an i32 array. */
int32_t gguf_value_i32(const struct gguf_array *array, int64_t index);

/* The value as an integer (bool: 0 or 1); false where it is none or does not fit. */
bool gguf_value_as_integer(int64_t *value, const struct gguf_pair *pair);

/* The value as a float; false where it is neither f32 nor f64. */
bool gguf_value_as_float(double *value, const struct gguf_pair *pair);

/* The value as a string; false where it is none. */
bool gguf_value_as_text(struct text_view *value, const struct gguf_pair *pair);
