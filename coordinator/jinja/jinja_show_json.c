/* Owns JSON's spelling of values, as Python's json.dumps has it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/jinja/jinja_show.h"

enum { NUMBER_BYTES = 32, CHARACTER_BYTES_MAX = 4 };

struct json {
    struct jinja_machine *machine;
    struct jinja_text *to;
    const struct jinja_show_json_args *args;
    size_t level;
};

static enum status show(struct json *json, struct jinja_value value);

static enum status words(struct json *json, const char *text)
{
    return jinja_text_add(json->to, text, strlen(text), false);
}

/* The character at `text` and its bytes. Text is UTF-8. */
static unsigned decode(const unsigned char *text, size_t *bytes)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    *bytes = *text < 0x80 ? 1 : *text < 0xE0 ? 2 : *text < 0xF0 ? 3 : CHARACTER_BYTES_MAX;
    unsigned character = *text & masks[*bytes];
    for (size_t i = 1; i < *bytes; i++)
        character = character << 6 | (text[i] & 0x3Fu);
    return character;
}

/* "" for a character that stands for itself. */
static void escape_of(char *escape, size_t room, unsigned character, bool is_ascii)
{
    static const char letters[] = "\"\\\n\r\t\f\b", names[] = "\"\\nrtfb";
    const char *letter = character && character < 0x80 ? strchr(letters, (int)character) : NULL;
    escape[0] = 0;
    if (letter)
        snprintf(escape, room, "\\%c", names[letter - letters]);
    else if (character < 0x20 || (is_ascii && character >= 0x7F && character < 0x10000))
        snprintf(escape, room, "\\u%04x", character);
    else if (is_ascii && character >= 0x10000)
        snprintf(escape, room, "\\u%04x\\u%04x", 0xD800 + ((character - 0x10000) >> 10),
                 0xDC00 + ((character - 0x10000) & 0x3FF));
}

static enum status show_text(struct json *json, const struct jinja_string *string)
{
    const char *text;
    size_t shown = 0, bytes;
    TRY(jinja_string_flat(json->machine->arena, &text, string));
    TRY(jinja_machine_step_bytes(json->machine, 8 * string->bytes));
    TRY(words(json, "\""));
    for (size_t place = 0; place < string->bytes; place += bytes) {
        char escape[16];
        const unsigned character = decode((const unsigned char *)text + place, &bytes);
        escape_of(escape, sizeof escape, character, json->args->is_ascii);
        if (!escape[0])
            continue;
        TRY(jinja_machine_step_slice(json->machine, string));
        TRY(jinja_text_add_slice(json->to, string, shown, place));
        TRY(jinja_text_copy(json->to, escape, strlen(escape)));
        shown = place + bytes;
    }
    TRY(jinja_text_add_slice(json->to, string, shown, string->bytes));
    return words(json, "\"");
}

static enum status show_number(struct json *json, struct jinja_value value)
{
    char number[NUMBER_BYTES];
    if (value.kind == JINJA_INT)
        snprintf(number, sizeof number, "%" PRId64, value.integer);
    else if (isnan(value.real) || isinf(value.real))
        snprintf(number, sizeof number, "%s",
                 isnan(value.real) ? "NaN"
                 : value.real < 0  ? "-Infinity"
                                   : "Infinity");
    else
        jinja_show_float(number, value.real);
    return jinja_text_copy(json->to, number, strlen(number));
}

/* A new line with its indent, where there is one. */
static enum status show_line(struct json *json)
{
    if (!json->args->indent)
        return STATUS_OK;
    TRY(words(json, "\n"));
    for (size_t i = 0; i < json->level; i++)
        TRY(jinja_text_add_string(json->to, json->args->indent));
    return jinja_machine_step(json->machine, json->level);
}

static enum status show_between(struct json *json)
{
    if (json->args->item_between)
        TRY(jinja_text_add_string(json->to, json->args->item_between));
    else
        TRY(words(json, json->args->indent ? "," : ", "));
    return show_line(json);
}

static enum status show_list(struct json *json, const struct jinja_list *list)
{
    if (list->count == 0)
        return words(json, "[]");
    TRY(words(json, "["));
    json->level++;
    TRY(show_line(json));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            TRY(show_between(json));
        TRY(show(json, list->items[i]));
    }
    json->level--;
    TRY(show_line(json));
    return words(json, "]");
}

/* A key that is no string is written as one. */
static enum status show_key(struct json *json, struct jinja_value key)
{
    if (key.kind == JINJA_STRING)
        return show_text(json, key.string);
    if (key.kind != JINJA_NONE && !jinja_value_is_number(key))
        return jinja_machine_fail(json->machine, STATUS_INVALID_ARGUMENT,
                                  "tojson: a key of type %s is no key in JSON",
                                  jinja_value_type(key));
    TRY(words(json, "\""));
    TRY(show(json, key));
    return words(json, "\"");
}

static int by_key(const void *a, const void *b)
{
    const struct jinja_entry *left = a, *right = b;
    return jinja_string_compare(left->key.string, right->key.string);
}

/* The entries by key, in new memory. */
static enum status sort_entries(struct json *json, const struct jinja_entry **entries,
                                const struct jinja_dict *dict)
{
    struct jinja_entry *sorted =
        jinja_arena_take(json->machine->arena, dict->count * sizeof *sorted);
    if (!sorted)
        return jinja_machine_fail(json->machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    for (size_t i = 0; i < dict->count; i++) {
        sorted[i] = dict->entries[i];
        if (sorted[i].key.kind != JINJA_STRING)
            return jinja_machine_fail(json->machine, STATUS_UNIMPLEMENTED,
                                      "tojson: sorting by keys that are no strings");
    }
    qsort(sorted, dict->count, sizeof *sorted, by_key);
    *entries = sorted;
    return STATUS_OK;
}

static enum status show_dict(struct json *json, const struct jinja_dict *dict)
{
    const struct jinja_entry *entries = dict->entries;
    if (dict->count == 0)
        return words(json, "{}");
    if (json->args->is_sorted)
        TRY(sort_entries(json, &entries, dict));
    TRY(words(json, "{"));
    json->level++;
    TRY(show_line(json));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0)
            TRY(show_between(json));
        TRY(show_key(json, entries[i].key));
        if (json->args->key_behind)
            TRY(jinja_text_add_string(json->to, json->args->key_behind));
        else
            TRY(words(json, ": "));
        TRY(show(json, entries[i].value));
    }
    json->level--;
    TRY(show_line(json));
    return words(json, "}");
}

static enum status show_one(struct json *json, struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_NONE:
        return words(json, "null");
    case JINJA_BOOL:
        return words(json, value.truth ? "true" : "false");
    case JINJA_INT:
    case JINJA_FLOAT:
        return show_number(json, value);
    case JINJA_STRING:
        return show_text(json, value.string);
    case JINJA_LIST:
    case JINJA_TUPLE:
        return show_list(json, value.list);
    case JINJA_DICT:
        return show_dict(json, value.dict);
    default:
        return jinja_machine_fail(json->machine, STATUS_INVALID_ARGUMENT,
                                  "tojson: a value of type %s has no word in JSON",
                                  jinja_value_type(value));
    }
}

static enum status show(struct json *json, struct jinja_value value)
{
    TRY(jinja_machine_enter(json->machine));
    TRY(show_one(json, value));
    jinja_machine_leave(json->machine);
    return STATUS_OK;
}

enum status jinja_show_json(struct jinja_machine *machine, const struct jinja_string **string,
                            struct jinja_value value, const struct jinja_show_json_args *args)
{
    struct jinja_text text = {.arena = machine->arena};
    struct json json = {machine, &text, args, 0};
    TRY(show(&json, value));
    return jinja_text_string(&text, string);
}
