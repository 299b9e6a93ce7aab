/* Owns nothing. Promises sentences that name a step by its types. */
#include "proto/model/json_step.h"

#include <stdio.h>
#include <string.h>

bool json_step_text_is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

bool json_step_has_type(const json_t *step, const char *type)
{
    return json_step_text_is(json_object_get(step, "type"), type);
}

bool json_step_has_keys(const json_t *step, const char *const *known)
{
    size_t found = 0;
    for (; *known; known++)
        found += json_object_get(step, *known) != NULL;
    return found == json_object_size(step);
}

size_t json_step_count(const json_t *step, const char *list_key, const json_t **list)
{
    const char *const known[] = {"type", list_key, NULL};
    *list = NULL;
    if (!step)
        return 0;
    if (!json_step_has_type(step, "Sequence") || !json_step_has_keys(step, known))
        return 1;
    *list = json_object_get(step, list_key);
    return json_array_size(*list);
}

const json_t *json_step_at(const json_t *step, const json_t *list, size_t index)
{
    return list ? json_array_get(list, index) : step;
}

/* "Sequence[Split, ByteLevel]" */
static void spell_step(char *out, size_t bytes, const json_t *step, const char *list_key)
{
    const char *type = json_string_value(json_object_get(step, "type"));
    const json_t *list = json_object_get(step, list_key);
    size_t index;
    json_t *inner;
    size_t used =
        (size_t)snprintf(out, bytes, "%.40s%s", type ? type : "(no type)", list ? "[" : "");
    json_array_foreach(list, index, inner)
    {
        const char *name = json_string_value(json_object_get(inner, "type"));
        if (used < bytes)
            used += (size_t)snprintf(out + used, bytes - used, "%s%.40s", index > 0 ? ", " : "",
                                     name ? name : "(no type)");
    }
    if (list && used < bytes)
        snprintf(out + used, bytes - used, "]");
}

enum status json_step_refuse(const struct json_place *root, const char *key, const char *list_key,
                             const char *known)
{
    char spelt[256];
    spell_step(spelt, sizeof spelt, json_place_get(root, key), list_key);
    return json_place_fail(root, key, STATUS_UNIMPLEMENTED, key, "%s is not supported; known: %s",
                           spelt, known);
}
