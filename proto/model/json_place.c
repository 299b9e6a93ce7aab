/* Owns the reading of JSON values from model files. Promises that a refusal names file and path.
 */
#include "proto/model/json_place.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SENTENCE_BYTES = 640 };

enum status json_place_parse(json_t **root, const void *data, size_t bytes, size_t bytes_max,
                             const char *file)
{
    if (bytes > bytes_max)
        return fail(STATUS_DATA_LOSS, "%s: %zu bytes of JSON; at most %zu are allowed [json-bytes]",
                    file, bytes, bytes_max);
    json_error_t error;
    json_t *parsed = json_loadb(data, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!parsed)
        return fail(STATUS_DATA_LOSS, "%s: byte %d of the JSON (line %d): %s [json]", file,
                    error.position, error.line, error.text);
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return fail(STATUS_DATA_LOSS, "%s: the JSON is no object [json]", file);
    }
    *root = parsed;
    return STATUS_OK;
}

struct json_place json_place_root(const json_t *root, const char *file)
{
    return (struct json_place){.json = root, .file = file};
}

enum status json_place_fail(const struct json_place *place, const char *key, enum status status,
                            const char *rule, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    char path[2 * JSON_PLACE_PATH_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    snprintf(path, sizeof path, "%s%s", place->path, key ? key : "");
    size_t bytes = strlen(path);
    if (!key && bytes > 0)
        path[bytes - 1] = 0; /* the point */
    return fail(status, "%s: %s%s%s [%s]", place->file, path, path[0] ? ": " : "", sentence, rule);
}

const json_t *json_place_get(const struct json_place *place, const char *key)
{
    const json_t *value = json_object_get(place->json, key);
    return json_is_null(value) ? NULL : value;
}

static const char *type_name(const json_t *value)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "a list",       [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null",
    };
    return names[json_typeof(value)];
}

/* Finds a value that must be there and of one of two types. */
static enum status find(const struct json_place *place, const json_t **value, const char *key,
                        json_type type, json_type other, const char *wanted)
{
    *value = json_place_get(place, key);
    if (!*value)
        return json_place_fail(place, key, STATUS_DATA_LOSS, "missing", "is missing");
    if (json_typeof(*value) != type && json_typeof(*value) != other)
        return json_place_fail(place, key, STATUS_DATA_LOSS, "value-type", "is %s, it must be %s",
                               type_name(*value), wanted);
    return STATUS_OK;
}

enum status json_place_integer(const struct json_place *place, int64_t *value, const char *key,
                               int64_t first, int64_t last)
{
    const json_t *json;
    TRY(find(place, &json, key, JSON_INTEGER, JSON_INTEGER, "an integer"));
    int64_t found = json_integer_value(json);
    if (found < first || found > last)
        return json_place_fail(place, key, STATUS_DATA_LOSS, "value-range",
                               "is %lld, it must lie in %lld .. %lld", (long long)found,
                               (long long)first, (long long)last);
    *value = found;
    return STATUS_OK;
}

enum status json_place_number(const struct json_place *place, double *value, const char *key)
{
    const json_t *json;
    TRY(find(place, &json, key, JSON_REAL, JSON_INTEGER, "a number"));
    *value = json_number_value(json);
    return STATUS_OK;
}

enum status json_place_text(const struct json_place *place, struct text_view *value,
                            const char *key)
{
    const json_t *json;
    TRY(find(place, &json, key, JSON_STRING, JSON_STRING, "a string"));
    *value = json_place_view(json);
    return STATUS_OK;
}

enum status json_place_object(const struct json_place *place, struct json_place *value,
                              const char *key)
{
    const json_t *json;
    struct json_place inner = {.file = place->file};
    TRY(find(place, &json, key, JSON_OBJECT, JSON_OBJECT, "an object"));
    inner.json = json;
    snprintf(inner.path, sizeof inner.path, "%.60s%.90s.", place->path, key);
    *value = inner;
    return STATUS_OK;
}

enum status json_place_array(const struct json_place *place, const json_t **value, const char *key)
{
    return find(place, value, key, JSON_ARRAY, JSON_ARRAY, "a list");
}

enum status json_place_bool_or(const struct json_place *place, bool *value, const char *key,
                               bool otherwise)
{
    const json_t *json;
    *value = otherwise;
    if (!json_place_get(place, key))
        return STATUS_OK;
    TRY(find(place, &json, key, JSON_TRUE, JSON_FALSE, "true or false"));
    *value = json_is_true(json);
    return STATUS_OK;
}

enum status json_place_number_or(const struct json_place *place, double *value, const char *key,
                                 double otherwise)
{
    *value = otherwise;
    return json_place_get(place, key) ? json_place_number(place, value, key) : STATUS_OK;
}

struct text_view json_place_view(const json_t *string)
{
    return (struct text_view){json_string_value(string), json_string_length(string)};
}
