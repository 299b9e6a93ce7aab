/* JSON from foreign bytes: an object, and where it stands, so that every refusal says
 * "FILE: the.path.of.keys: <sentence> [rule]".
 *
 * A value of null is as good as absent.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/text_view.h"
#include "proto/status.h"

enum { JSON_PLACE_PATH_BYTES = 160 };

struct json_place {
    const json_t *json; /* an object */
    const char *file;
    char path[JSON_PLACE_PATH_BYTES]; /* of the object: "" or "rope_scaling." */
};

/* Reads one object, which the caller ends with json_decref. No key twice, no NUL in text, at most
 * 2,048 levels, at most `bytes_max` bytes. An integer of more than 64 bits is kept as a real number
 * of about that value. */
MUST_CHECK enum status json_place_parse(json_t **root, const void *data, size_t bytes,
                                        size_t bytes_max, const char *file);

/* The same, but texts may hold NUL: who reads one must look at its length. */
MUST_CHECK enum status json_place_parse_with_nul(json_t **root, const void *data, size_t bytes,
                                                 size_t bytes_max, const char *file);

struct json_place json_place_root(const json_t *root, const char *file);

/* `key` may be NULL: the sentence is about the object. */
__attribute__((format(printf, 5, 6))) MUST_CHECK enum status
json_place_fail(const struct json_place *place, const char *key, enum status status,
                const char *rule, const char *format, ...);

/* The value; NULL where it is absent or null. */
const json_t *json_place_get(const struct json_place *place, const char *key);

/* Whether `json` is an integer, also one that is written as a real number (4096.0). Accepts NULL.
 */
bool json_place_whole(const json_t *json, int64_t *value);

/* DATA_LOSS where the value is absent, of another type or out of range. An integer may be written
 * as a real number. */
MUST_CHECK enum status json_place_integer(const struct json_place *place, int64_t *value,
                                          const char *key, int64_t first, int64_t last);
/* A limit from 1 on. Writers put a huge number where nothing is set: more than `most` is as good as
 * no limit, and gives `most`. */
MUST_CHECK enum status json_place_limit(const struct json_place *place, int64_t *value,
                                        const char *key, int64_t most);
MUST_CHECK enum status json_place_number(const struct json_place *place, double *value,
                                         const char *key);
MUST_CHECK enum status json_place_text(const struct json_place *place, struct text_view *value,
                                       const char *key);
MUST_CHECK enum status json_place_object(const struct json_place *place, struct json_place *value,
                                         const char *key);
MUST_CHECK enum status json_place_array(const struct json_place *place, const json_t **value,
                                        const char *key);

/* `otherwise` where it is absent. */
MUST_CHECK enum status json_place_bool_or(const struct json_place *place, bool *value,
                                          const char *key, bool otherwise);
MUST_CHECK enum status json_place_number_or(const struct json_place *place, double *value,
                                            const char *key, double otherwise);

/* A JSON string's text. */
struct text_view json_place_view(const json_t *string);
