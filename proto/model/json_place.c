/* Owns the reading of JSON values from model files. Promises that a refusal names file and path.
 */
#include "proto/model/json_place.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCE_BYTES = 640, DIGITS_MAX = 300 };

/* Integers up to here are the same as real numbers. */
static const double whole_max = 9007199254740992.0; /* 2^53 */

static bool is_too_wide(const char *digits, size_t count, bool negative)
{
    const char *least_too_wide = negative ? "9223372036854775809" : "9223372036854775808";
    size_t width = strlen(least_too_wide);
    return count > width || (count == width && memcmp(digits, least_too_wide, width) >= 0);
}

/* The number that begins at `text`, if it is an integer of more than 64 bits, becomes a real number
 * of the same length and about the same value. Returns its bytes. */
static size_t widen_number(char *text, size_t bytes)
{
    size_t sign = *text == '-';
    size_t digits = 0;
    while (sign + digits < bytes && text[sign + digits] >= '0' && text[sign + digits] <= '9')
        digits++;
    size_t end = sign + digits;
    while (end < bytes && text[end] && strchr("0123456789+-.eE", text[end]))
        end++;
    if (end > sign + digits || !is_too_wide(text + sign, digits, sign > 0))
        return end;
    if (digits <= DIGITS_MAX) {
        memcpy(text + end - 2, "e2", 2);
    } else {
        memset(text + sign, ' ', digits);
        memcpy(text + sign, "1e300", 5);
    }
    return end;
}

/* Outside strings, a digit or a minus begins a number. */
static void widen_integers(char *text, size_t bytes)
{
    bool quoted = false;
    for (size_t i = 0; i < bytes;) {
        bool begins = !quoted && (text[i] == '-' || (text[i] >= '0' && text[i] <= '9'));
        size_t taken = begins ? widen_number(text + i, bytes - i) : 1;
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted && text[i] == '\\')
            taken = 2;
        i += taken;
    }
}

/* Writers put numbers like 10^30 where nothing is set. Such a file is read as if that were a real
 * number, which who needs an integer refuses, and who does not never sees. */
static json_t *load(const void *data, size_t bytes, size_t flags, json_error_t *error)
{
    json_t *loaded = json_loadb(data, bytes, flags, error);
    if (loaded || json_error_code(error) != json_error_numeric_overflow)
        return loaded;
    char *copy = malloc(bytes);
    if (!copy)
        return NULL;
    memcpy(copy, data, bytes);
    widen_integers(copy, bytes);
    loaded = json_loadb(copy, bytes, flags, error);
    free(copy);
    return loaded;
}

static enum status parse(json_t **root, const void *data, size_t bytes, size_t bytes_max,
                         const char *file, size_t flags)
{
    if (bytes > bytes_max)
        return fail(STATUS_DATA_LOSS, "%s: %zu bytes of JSON; at most %zu are allowed [json-bytes]",
                    file, bytes, bytes_max);
    json_error_t error;
    json_t *parsed = load(data, bytes, flags, &error);
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

enum status json_place_parse(json_t **root, const void *data, size_t bytes, size_t bytes_max,
                             const char *file)
{
    return parse(root, data, bytes, bytes_max, file, JSON_REJECT_DUPLICATES);
}

enum status json_place_parse_with_nul(json_t **root, const void *data, size_t bytes,
                                      size_t bytes_max, const char *file)
{
    return parse(root, data, bytes, bytes_max, file, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL);
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

bool json_place_whole(const json_t *json, int64_t *value)
{
    double real = json_real_value(json);
    bool is_whole = json_is_real(json) && real == trunc(real) && fabs(real) <= whole_max;
    if (!is_whole && !json_is_integer(json))
        return false;
    *value = is_whole ? (int64_t)real : json_integer_value(json);
    return true;
}

enum status json_place_integer(const struct json_place *place, int64_t *value, const char *key,
                               int64_t first, int64_t last)
{
    const json_t *json;
    int64_t found;
    TRY(find(place, &json, key, JSON_INTEGER, JSON_REAL, "an integer"));
    double number = json_number_value(json);
    if (number != trunc(number))
        return json_place_fail(place, key, STATUS_DATA_LOSS, "value-type",
                               "is %g, it must be an integer", number);
    if (!json_place_whole(json, &found) || found < first || found > last)
        return json_place_fail(place, key, STATUS_DATA_LOSS, "value-range",
                               "is %.17g, it must lie in %lld .. %lld", number, (long long)first,
                               (long long)last);
    *value = found;
    return STATUS_OK;
}

enum status json_place_limit(const struct json_place *place, int64_t *value, const char *key,
                             int64_t most)
{
    const json_t *json = json_place_get(place, key);
    if (json_number_value(json) > (double)most) {
        *value = most;
        return STATUS_OK;
    }
    return json_place_integer(place, value, key, 1, most);
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
