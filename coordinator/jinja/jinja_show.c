/* Owns Python's spelling of values. */
#include "coordinator/jinja/jinja_show.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { NUMBER_BYTES = 32, DIGITS_MAX = 17, EXPONENT_FROM = 16, EXPONENT_BELOW = -4 };

static enum status show(struct jinja_machine *machine, struct jinja_text *to,
                        struct jinja_value value);

/* "1.5e+300" with the fewest digits that are read back as the same number. */
static void shortest(char *text, double real)
{
    for (int digits = 1; digits <= DIGITS_MAX; digits++) {
        snprintf(text, NUMBER_BYTES, "%.*e", digits - 1, real);
        if (strtod(text, NULL) == real)
            return;
    }
}

void jinja_show_float(char *text, double real)
{
    char parts[NUMBER_BYTES];
    if (isnan(real) || isinf(real)) {
        snprintf(text, NUMBER_BYTES, "%s", isnan(real) ? "nan" : real < 0 ? "-inf" : "inf");
        return;
    }
    shortest(parts, real);
    const int exponent = atoi(strchr(parts, 'e') + 1);
    const char *point = strchr(parts, '.');
    const int decimals = point ? (int)(strchr(parts, 'e') - point) - 1 : 0;
    if (exponent < EXPONENT_BELOW || exponent >= EXPONENT_FROM) {
        const int mantissa = (int)(strchr(parts, 'e') - parts);
        snprintf(text, NUMBER_BYTES, "%.*se%c%02d", mantissa, parts, exponent < 0 ? '-' : '+',
                 abs(exponent));
        return;
    }
    const int behind = decimals - exponent > 1 ? decimals - exponent : 1;
    snprintf(text, NUMBER_BYTES, "%.*f", behind, real);
}

static bool is_printable(utf8proc_int32_t character)
{
    switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return false;
    case UTF8PROC_CATEGORY_ZS:
        return character == ' ';
    default:
        return true;
    }
}

/* How repr() spells a character that is not shown as itself; "" where it is. */
static void repr_escape(char *escape, size_t room, utf8proc_int32_t character, char quote)
{
    const char *letters = "\n\r\t", *names = "nrt";
    const char *letter = character && character < 0x80 ? strchr(letters, character) : NULL;
    escape[0] = 0;
    if (character == quote || character == '\\')
        snprintf(escape, room, "\\%c", (char)character);
    else if (letter)
        snprintf(escape, room, "\\%c", names[letter - letters]);
    else if (!is_printable(character))
        snprintf(escape, room,
                 character < 0x100     ? "\\x%02x"
                 : character < 0x10000 ? "\\u%04x"
                                       : "\\U%08x",
                 (unsigned)character);
}

static enum status show_repr(struct jinja_machine *machine, struct jinja_text *to,
                             const struct jinja_string *string)
{
    const char *text;
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_machine_step_bytes(machine, 8 * string->bytes));
    const bool has_single = string->bytes && memchr(text, '\'', string->bytes);
    const bool has_double = string->bytes && memchr(text, '"', string->bytes);
    const char quote = has_single && !has_double ? '"' : '\'';
    size_t shown = 0;
    TRY(jinja_text_copy(to, &quote, 1));
    for (size_t place = 0; place < string->bytes;) {
        utf8proc_int32_t character;
        char escape[12];
        const utf8proc_ssize_t bytes =
            utf8proc_iterate((const utf8proc_uint8_t *)text + place,
                             (utf8proc_ssize_t)(string->bytes - place), &character);
        repr_escape(escape, sizeof escape, character, quote);
        if (escape[0]) {
            TRY(jinja_machine_step_slice(machine, string));
            TRY(jinja_text_add_slice(to, string, shown, place));
            TRY(jinja_text_copy(to, escape, strlen(escape)));
            shown = place + (size_t)bytes;
        }
        place += bytes > 0 ? (size_t)bytes : 1;
    }
    TRY(jinja_text_add_slice(to, string, shown, string->bytes));
    return jinja_text_copy(to, &quote, 1);
}

static enum status show_words(struct jinja_text *to, const char *words)
{
    return jinja_text_add(to, words, strlen(words), false);
}

static enum status show_list(struct jinja_machine *machine, struct jinja_text *to,
                             const struct jinja_list *list, const char *open, const char *close)
{
    TRY(show_words(to, open));
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            TRY(show_words(to, ", "));
        TRY(show(machine, to, list->items[i]));
    }
    return show_words(to, close);
}

static enum status show_dict(struct jinja_machine *machine, struct jinja_text *to,
                             const struct jinja_dict *dict)
{
    TRY(show_words(to, "{"));
    for (size_t i = 0; i < dict->count; i++) {
        if (i > 0)
            TRY(show_words(to, ", "));
        TRY(show(machine, to, dict->entries[i].key));
        TRY(show_words(to, ": "));
        TRY(show(machine, to, dict->entries[i].value));
    }
    return show_words(to, "}");
}

/* What str() and repr() show alike. */
static enum status show_plain(struct jinja_machine *machine, struct jinja_text *to,
                              struct jinja_value value)
{
    char number[NUMBER_BYTES];
    switch (value.kind) {
    case JINJA_NONE:
        return show_words(to, "None");
    case JINJA_BOOL:
        return show_words(to, value.truth ? "True" : "False");
    case JINJA_INT:
        snprintf(number, sizeof number, "%" PRId64, value.integer);
        return jinja_text_copy(to, number, strlen(number));
    case JINJA_FLOAT:
        jinja_show_float(number, value.real);
        return jinja_text_copy(to, number, strlen(number));
    case JINJA_LIST:
        return show_list(machine, to, value.list, "[", "]");
    case JINJA_TUPLE:
        return show_list(machine, to, value.list, "(", value.list->count == 1 ? ",)" : ")");
    case JINJA_DICT:
        return show_dict(machine, to, value.dict);
    default:
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                  "writing a value of type %s as text is not supported",
                                  jinja_value_type(value));
    }
}

/* As repr(). */
static enum status show(struct jinja_machine *machine, struct jinja_text *to,
                        struct jinja_value value)
{
    if (value.kind == JINJA_UNDEFINED)
        return show_words(to, "Undefined");
    if (value.kind == JINJA_STRING)
        return show_repr(machine, to, value.string);
    TRY(jinja_machine_enter(machine));
    TRY(show_plain(machine, to, value));
    jinja_machine_leave(machine);
    return STATUS_OK;
}

enum status jinja_show_string(struct jinja_machine *machine, const struct jinja_string **string,
                              struct jinja_value value)
{
    struct jinja_text text = {.arena = machine->arena};
    if (value.kind == JINJA_STRING) {
        *string = value.string;
        return STATUS_OK;
    }
    if (value.kind != JINJA_UNDEFINED)
        TRY(show_plain(machine, &text, value));
    return jinja_text_string(&text, string);
}
