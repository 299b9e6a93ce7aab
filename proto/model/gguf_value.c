/* Owns the meaning of a value's bytes. Promises that a getter gives the type it was asked for or a
 * refusal that names the key.
 */
#include "proto/model/gguf_value.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static uint64_t little_endian(const uint8_t *bytes, int count)
{
    uint64_t value = 0;
    for (int i = 0; i < count; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

bool gguf_value_as_integer(int64_t *value, const struct gguf_pair *pair)
{
    const uint8_t *bytes = pair->value;
    switch (pair->type) {
    case GGUF_U8:
    case GGUF_BOOL:
        *value = bytes[0];
        return true;
    case GGUF_I8:
        *value = (int8_t)bytes[0];
        return true;
    case GGUF_U16:
        *value = (uint16_t)little_endian(bytes, 2);
        return true;
    case GGUF_I16:
        *value = (int16_t)little_endian(bytes, 2);
        return true;
    case GGUF_U32:
        *value = (uint32_t)little_endian(bytes, 4);
        return true;
    case GGUF_I32:
        *value = (int32_t)little_endian(bytes, 4);
        return true;
    case GGUF_I64:
        *value = (int64_t)little_endian(bytes, 8);
        return true;
    case GGUF_U64:
        if (little_endian(bytes, 8) > INT64_MAX)
            return false;
        *value = (int64_t)little_endian(bytes, 8);
        return true;
    default:
        return false;
    }
}

bool gguf_value_as_float(double *value, const struct gguf_pair *pair)
{
    if (pair->type == GGUF_F32) {
        uint32_t bits = (uint32_t)little_endian(pair->value, 4);
        float single;
        memcpy(&single, &bits, sizeof single);
        *value = (double)single;
        return true;
    }
    if (pair->type == GGUF_F64) {
        uint64_t bits = little_endian(pair->value, 8);
        memcpy(value, &bits, sizeof *value);
        return true;
    }
    return false;
}

bool gguf_value_as_text(struct text_view *value, const struct gguf_pair *pair)
{
    if (pair->type != GGUF_STRING)
        return false;
    const uint8_t *place = pair->value;
    *value = gguf_value_next_string(&place);
    return true;
}

struct text_view gguf_value_next_string(const uint8_t **place)
{
    size_t bytes = (size_t)little_endian(*place, 8);
    struct text_view string = {(const char *)*place + 8, bytes};
    *place += 8 + bytes;
    return string;
}

int32_t gguf_value_i32(const struct gguf_array *array, int64_t index)
{
    assert(array->type == GGUF_I32 && index >= 0 && index < array->count);
    return (int32_t)little_endian(array->data + 4 * index, 4);
}

static enum status find(const struct gguf *gguf, const struct gguf_pair **pair, const char *key)
{
    *pair = gguf_find_pair(gguf, key);
    if (!*pair)
        return fail(STATUS_DATA_LOSS, "%s: the key %s is missing", gguf_name(gguf), key);
    return STATUS_OK;
}

static enum status wrong_type(const struct gguf *gguf, const struct gguf_pair *pair,
                              const char *wanted)
{
    bool array = pair->type == GGUF_ARRAY;
    return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "value-type",
                     "key %.*s is %s%s, it must be %s", (int)pair->key.bytes, pair->key.text,
                     array ? "an array of " : "of type ",
                     gguf_type_name(array ? pair->array.type : pair->type), wanted);
}

enum status gguf_value_integer(const struct gguf *gguf, int64_t *value, const char *key,
                               int64_t first, int64_t last)
{
    const struct gguf_pair *pair;
    int64_t found;
    TRY(find(gguf, &pair, key));
    if (pair->type == GGUF_BOOL || !gguf_value_as_integer(&found, pair))
        return wrong_type(gguf, pair, "an integer of at most 63 bits");
    if (found < first || found > last)
        return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "value-range",
                         "key %s is %lld, it must lie in %lld .. %lld", key, (long long)found,
                         (long long)first, (long long)last);
    *value = found;
    return STATUS_OK;
}

enum status gguf_value_limit(const struct gguf *gguf, int64_t *value, const char *key, int64_t most)
{
    const struct gguf_pair *pair = gguf_find_pair(gguf, key);
    int64_t found = 0;
    bool fits = pair && gguf_value_as_integer(&found, pair);
    bool is_huge = pair && pair->type == GGUF_U64 && !fits;
    if (is_huge || found > most) {
        *value = most;
        return STATUS_OK;
    }
    return gguf_value_integer(gguf, value, key, 1, most);
}

enum status gguf_value_float(const struct gguf *gguf, double *value, const char *key)
{
    const struct gguf_pair *pair;
    double found;
    TRY(find(gguf, &pair, key));
    if (!gguf_value_as_float(&found, pair))
        return wrong_type(gguf, pair, "f32 or f64");
    if (!isfinite(found))
        return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "value-range",
                         "key %s is not a finite number", key);
    *value = found;
    return STATUS_OK;
}

enum status gguf_value_bool(const struct gguf *gguf, bool *value, const char *key)
{
    const struct gguf_pair *pair;
    TRY(find(gguf, &pair, key));
    if (pair->type != GGUF_BOOL)
        return wrong_type(gguf, pair, "bool");
    *value = pair->value[0] != 0;
    return STATUS_OK;
}

enum status gguf_value_text(const struct gguf *gguf, struct text_view *value, const char *key)
{
    const struct gguf_pair *pair;
    TRY(find(gguf, &pair, key));
    if (!gguf_value_as_text(value, pair))
        return wrong_type(gguf, pair, "a string");
    return STATUS_OK;
}

enum status gguf_value_array(const struct gguf *gguf, struct gguf_array *value, const char *key,
                             enum gguf_type type)
{
    const struct gguf_pair *pair;
    TRY(find(gguf, &pair, key));
    if (pair->type != GGUF_ARRAY || pair->array.type != type) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "an array of %s", gguf_type_name(type));
        return wrong_type(gguf, pair, wanted);
    }
    *value = pair->array;
    return STATUS_OK;
}
