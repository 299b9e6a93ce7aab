/* Owns stripping and replacing. */
#include "coordinator/jinja/jinja_edit.h"

#include <string.h>

#include "coordinator/jinja/jinja_operators.h"
#include "coordinator/jinja/jinja_space.h"

static size_t character_bytes(const char *text, size_t bytes)
{
    size_t count = 1;
    while (count < bytes && ((unsigned char)text[count] & 0xC0) == 0x80)
        count++;
    return count;
}

static size_t last_character_bytes(const char *text, size_t bytes)
{
    size_t count = 1;
    while (count < bytes && ((unsigned char)text[bytes - count] & 0xC0) == 0x80)
        count++;
    return count;
}

static bool has(const char *set, size_t set_bytes, const char *character, size_t bytes)
{
    return jinja_operators_find(set, 0, set_bytes, character, bytes) < set_bytes;
}

static enum status strip_set(struct jinja_machine *machine, size_t *first, size_t *end,
                             const char *text, const struct jinja_string *characters, bool left,
                             bool right)
{
    const char *set;
    size_t bytes;
    TRY(jinja_string_flat(machine->arena, &set, characters));
    while (left && *first < *end) {
        TRY(jinja_machine_step_bytes(machine, characters->bytes));
        bytes = character_bytes(text + *first, *end - *first);
        if (!has(set, characters->bytes, text + *first, bytes))
            break;
        *first += bytes;
    }
    while (right && *first < *end) {
        TRY(jinja_machine_step_bytes(machine, characters->bytes));
        bytes = last_character_bytes(text + *first, *end - *first);
        if (!has(set, characters->bytes, text + *end - bytes, bytes))
            break;
        *end -= bytes;
    }
    return STATUS_OK;
}

enum status jinja_edit_strip(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_string *string,
                             const struct jinja_string *characters, bool left, bool right)
{
    const struct jinja_string *slice;
    const char *text;
    size_t first = 0, end = string->bytes;
    TRY(jinja_string_flat(machine->arena, &text, string));
    if (characters) {
        TRY(strip_set(machine, &first, &end, text, characters, left, right));
    } else {
        first = left ? jinja_space_before(text, end) : 0;
        end -= right ? jinja_space_behind(text + first, end - first) : 0;
    }
    TRY(jinja_machine_step_bytes(machine, string->bytes - (end - first)));
    TRY(jinja_machine_step_slice(machine, string));
    TRY(jinja_string_slice(machine->arena, &slice, string, first, end));
    *out = jinja_value_string(slice);
    return STATUS_OK;
}

/* An empty text stands before each character, and behind the last. */
static enum status spread(struct jinja_machine *machine, struct jinja_text *result,
                          const struct jinja_string *string, const struct jinja_string *between,
                          size_t limit)
{
    const char *text;
    size_t place = 0;
    TRY(jinja_string_flat(machine->arena, &text, string));
    while (limit > 0) {
        TRY(jinja_machine_step(machine, 1 + string->count));
        TRY(jinja_text_add_string(result, between));
        limit--;
        if (place == string->bytes)
            return STATUS_OK;
        const size_t end = place + character_bytes(text + place, string->bytes - place);
        TRY(jinja_text_add_slice(result, string, place, end));
        place = end;
    }
    return jinja_text_add_slice(result, string, place, string->bytes);
}

static enum status replace(struct jinja_machine *machine, struct jinja_text *result,
                           const struct jinja_string *string, const struct jinja_string *old,
                           const struct jinja_string *new_text, size_t limit)
{
    const char *text, *needle;
    size_t place = 0;
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_string_flat(machine->arena, &needle, old));
    for (; limit > 0; limit--) {
        const size_t found = jinja_operators_find(text, place, string->bytes, needle, old->bytes);
        if (found == string->bytes)
            break;
        TRY(jinja_machine_step(machine, 1 + string->count + new_text->count));
        TRY(jinja_text_add_slice(result, string, place, found));
        TRY(jinja_text_add_string(result, new_text));
        place = found + old->bytes;
    }
    return jinja_text_add_slice(result, string, place, string->bytes);
}

enum status jinja_edit_replace(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_string *string, const struct jinja_string *old,
                               const struct jinja_string *new_text, size_t limit)
{
    struct jinja_text result = {.arena = machine->arena};
    const struct jinja_string *made;
    TRY(jinja_machine_step_bytes(machine, string->bytes));
    if (old->bytes == 0)
        TRY(spread(machine, &result, string, new_text, limit));
    else
        TRY(replace(machine, &result, string, old, new_text, limit));
    TRY(jinja_text_string(&result, &made));
    *out = jinja_value_string(made);
    return STATUS_OK;
}
