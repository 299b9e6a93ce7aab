/* Owns the reading of a format. */
#include "coordinator/jinja/jinja_format.h"

#include <string.h>

#include "coordinator/jinja/jinja_show.h"

enum { INDEX_MAX = 1000, QUOTED_BYTES = 40 };

/* The number that a field is; the next one for an empty field. False for a name. */
static bool read_index(size_t *index, const char *field, size_t bytes, size_t *next)
{
    if (bytes == 0) {
        *index = (*next)++;
        return true;
    }
    *index = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (field[i] < '0' || field[i] > '9' || *index > INDEX_MAX)
            return false;
        *index = *index * 10 + (size_t)(field[i] - '0');
    }
    return true;
}

static enum status find_field(struct jinja_machine *machine, struct jinja_value *value,
                              const struct jinja_args *args, const char *field, size_t bytes,
                              size_t *next)
{
    size_t index;
    if (read_index(&index, field, bytes, next)) {
        if (index >= args->count)
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "format: no argument %zu",
                                      index);
        *value = args->values[index];
        return STATUS_OK;
    }
    for (size_t i = 0; i < args->named_count; i++)
        if (args->named[i].name->bytes == bytes &&
            memcmp(args->named[i].name->text, field, bytes) == 0) {
            *value = args->named[i].value;
            return STATUS_OK;
        }
    return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                              "the field {%.*s} of a format is not supported",
                              (int)(bytes < QUOTED_BYTES ? bytes : QUOTED_BYTES), field);
}

enum status jinja_format(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    const struct jinja_string *string = call->in.string, *part;
    struct jinja_text result = {.arena = machine->arena};
    const char *text;
    size_t next = 0, shown = 0, place = 0;
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_machine_step_bytes(machine, string->bytes));
    while (place < string->bytes) {
        struct jinja_value value;
        const char brace = text[place];
        if (brace != '{' && brace != '}') {
            place++;
            continue;
        }
        const bool is_doubled = place + 1 < string->bytes && text[place + 1] == brace;
        TRY(jinja_machine_step_slice(machine, string));
        TRY(jinja_text_add_slice(&result, string, shown, place + is_doubled));
        const char *end = is_doubled ? NULL : memchr(text + place, '}', string->bytes - place);
        if (!is_doubled && (brace == '}' || !end))
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                      "format: a brace that is not closed or opened");
        if (!is_doubled) {
            const char *field = text + place + 1;
            TRY(jinja_machine_step(machine, call->all->named_count));
            TRY(find_field(machine, &value, call->all, field, (size_t)(end - field), &next));
            TRY(jinja_show_string(machine, &part, value));
            TRY(jinja_machine_step_slice(machine, part));
            TRY(jinja_text_add_string(&result, part));
        }
        place = is_doubled ? place + 2 : (size_t)(end - text) + 1;
        shown = place;
    }
    TRY(jinja_text_add_slice(&result, string, shown, string->bytes));
    TRY(jinja_text_string(&result, &part));
    *out = jinja_value_string(part);
    return STATUS_OK;
}
