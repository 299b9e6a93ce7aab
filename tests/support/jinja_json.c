/* Owns the way from JSON to values. */
#include "tests/support/jinja_json.h"

#include <string.h>

enum { DEPTH_MAX = 64 };

static enum status make(struct jinja_value *value, struct jinja_arena *arena, const json_t *json,
                        int depth);

static enum status make_list(struct jinja_value *value, struct jinja_arena *arena,
                             const json_t *json, int depth)
{
    struct jinja_list *list;
    TRY(jinja_list_make(&list, arena));
    for (size_t i = 0; i < json_array_size(json); i++) {
        struct jinja_value item;
        TRY(make(&item, arena, json_array_get(json, i), depth));
        TRY(jinja_list_add(list, item));
    }
    *value = jinja_value_list(JINJA_LIST, list);
    return STATUS_OK;
}

static enum status make_dict(struct jinja_value *value, struct jinja_arena *arena,
                             const json_t *json, int depth)
{
    struct jinja_dict *dict;
    const char *key;
    json_t *member;
    TRY(jinja_dict_make(&dict, arena));
    json_object_foreach((json_t *)json, key, member)
    {
        struct jinja_value name, item;
        TRY(jinja_value_text(&name, arena, key, strlen(key), false));
        TRY(make(&item, arena, member, depth));
        TRY(jinja_dict_add(dict, name, item));
    }
    *value = (struct jinja_value){.kind = JINJA_DICT, .dict = dict};
    return STATUS_OK;
}

static enum status make(struct jinja_value *value, struct jinja_arena *arena, const json_t *json,
                        int depth)
{
    if (depth == DEPTH_MAX)
        return fail(STATUS_OUT_OF_RANGE, "more than %d lists and objects in each other", DEPTH_MAX);
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return make_dict(value, arena, json, depth + 1);
    case JSON_ARRAY:
        return make_list(value, arena, json, depth + 1);
    case JSON_STRING:
        return jinja_value_text(value, arena, json_string_value(json), json_string_length(json),
                                false);
    case JSON_INTEGER:
        *value = jinja_value_int(json_integer_value(json));
        return STATUS_OK;
    case JSON_REAL:
        *value = (struct jinja_value){.kind = JINJA_FLOAT, .real = json_real_value(json)};
        return STATUS_OK;
    case JSON_NULL:
        *value = (struct jinja_value){.kind = JINJA_NONE};
        return STATUS_OK;
    default:
        *value = jinja_value_bool(json_is_true(json));
        return STATUS_OK;
    }
}

enum status jinja_json_value(struct jinja_value *value, struct jinja_arena *arena,
                             const json_t *json)
{
    return make(value, arena, json, 0);
}
