/* Owns what ends a line in Python: more than a newline. */
#include "coordinator/jinja/jinja_lines.h"

#include <string.h>

enum { WIDTH_DEFAULT = 4, WIDTH_MAX = 64 };

/* The bytes of the end of a line that `text` begins with; 0 where it begins with none. */
static size_t end_bytes(const char *text, size_t bytes)
{
    if (bytes >= 2 && memcmp(text, "\r\n", 2) == 0)
        return 2;
    if (bytes >= 1 && *text && memchr("\n\r\v\f\x1C\x1D\x1E", *text, 7))
        return 1;
    if (bytes >= 2 && memcmp(text, "\xC2\x85", 2) == 0)
        return 2;
    const bool is_separator = bytes >= 3 && (memcmp(text, "\xE2\x80\xA8", 3) == 0 ||
                                             memcmp(text, "\xE2\x80\xA9", 3) == 0);
    return is_separator ? 3 : 0;
}

static enum status read_width(struct jinja_machine *machine, const struct jinja_string **step,
                              struct jinja_value width)
{
    static const char spaces[WIDTH_MAX + 1] =
        "                                                                ";
    if (width.kind == JINJA_STRING) {
        *step = width.string;
        return STATUS_OK;
    }
    const int64_t count = width.kind == JINJA_ABSENT ? WIDTH_DEFAULT : width.integer;
    if ((width.kind != JINJA_ABSENT && width.kind != JINJA_INT) || count > WIDTH_MAX)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "indent: a width is a text or a number up to %d", WIDTH_MAX);
    return jinja_string_make(machine->arena, step, spaces, count > 0 ? (size_t)count : 0, true);
}

enum status jinja_lines_indent(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_string *string,
                               const struct jinja_value *argument)
{
    const bool indents_first = jinja_value_is_true(argument[1]);
    const bool indents_empty = jinja_value_is_true(argument[2]);
    struct jinja_text result = {.arena = machine->arena};
    const struct jinja_string *step, *made;
    const char *text;
    TRY(read_width(machine, &step, argument[0]));
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_machine_step_bytes(machine, 4 * string->bytes));
    for (size_t place = 0, lines = 0;; lines++) {
        size_t end = place, behind = 0;
        while (end < string->bytes && (behind = end_bytes(text + end, string->bytes - end)) == 0)
            end++;
        const bool is_indented = lines == 0 ? indents_first : end > place || indents_empty;
        TRY(jinja_machine_step(machine, 1 + string->count + step->count));
        if (lines > 0)
            TRY(jinja_text_add(&result, "\n", 1, true));
        if (is_indented)
            TRY(jinja_text_add_string(&result, step));
        TRY(jinja_text_add_slice(&result, string, place, end));
        if (end == string->bytes)
            break;
        place = end + behind;
    }
    TRY(jinja_text_string(&result, &made));
    *out = jinja_value_string(made);
    return STATUS_OK;
}
