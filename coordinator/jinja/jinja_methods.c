/* Owns the methods of str and dict. Those that Python has besides are known by name, since a
 * template may ask whether there are any. */
#include "coordinator/jinja/jinja_methods.h"

#include <stdint.h>
#include <string.h>

#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_edit.h"
#include "coordinator/jinja/jinja_format.h"
#include "coordinator/jinja/jinja_letters.h"
#include "coordinator/jinja/jinja_operators.h"
#include "coordinator/jinja/jinja_space.h"

static enum status want_string(struct jinja_machine *machine, struct jinja_value value,
                               const char *what)
{
    if (value.kind == JINJA_STRING)
        return STATUS_OK;
    return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "%s must be a text, not %s", what,
                              jinja_value_type(value));
}

static enum status strip_sides(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_call *call, bool left, bool right)
{
    const struct jinja_value characters = call->argument[0];
    const struct jinja_string *of = NULL;
    if (characters.kind != JINJA_ABSENT && characters.kind != JINJA_NONE) {
        TRY(want_string(machine, characters, "what is stripped"));
        of = characters.string;
    }
    return jinja_edit_strip(machine, out, call->in.string, of, left, right);
}

static enum status strip(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return strip_sides(machine, out, call, true, true);
}

static enum status lstrip(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    return strip_sides(machine, out, call, true, false);
}

static enum status rstrip(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    return strip_sides(machine, out, call, false, true);
}

/* Whether a text has another at its start or end; a tuple holds several to choose from. */
static enum status has_affix(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call, bool at_start)
{
    const struct jinja_string *string = call->in.string;
    const struct jinja_value given = call->argument[0];
    const bool is_tuple = given.kind == JINJA_TUPLE;
    const size_t count = is_tuple ? given.list->count : 1;
    *out = jinja_value_bool(false);
    for (size_t i = 0; i < count; i++) {
        const struct jinja_value affix = is_tuple ? given.list->items[i] : given;
        const struct jinja_string *part;
        TRY(want_string(machine, affix, at_start ? "a start" : "an end"));
        if (affix.string->bytes > string->bytes)
            continue;
        const size_t first = at_start ? 0 : string->bytes - affix.string->bytes;
        TRY(jinja_machine_step_bytes(machine, affix.string->bytes));
        TRY(jinja_machine_step_slice(machine, string));
        TRY(jinja_string_slice(machine->arena, &part, string, first, first + affix.string->bytes));
        if (jinja_string_compare(part, affix.string) == 0)
            *out = jinja_value_bool(true);
    }
    return STATUS_OK;
}

static enum status startswith(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_call *call)
{
    return has_affix(machine, out, call, true);
}

static enum status endswith(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    return has_affix(machine, out, call, false);
}

static enum status remove_affix(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call, bool at_start)
{
    const struct jinja_string *string = call->in.string, *slice;
    struct jinja_value has;
    TRY(want_string(machine, call->argument[0], "what is removed"));
    TRY(has_affix(machine, &has, call, at_start));
    TRY(jinja_machine_step_slice(machine, string));
    const size_t bytes = has.truth ? call->argument[0].string->bytes : 0;
    TRY(jinja_string_slice(machine->arena, &slice, string, at_start ? bytes : 0,
                           at_start ? string->bytes : string->bytes - bytes));
    *out = jinja_value_string(slice);
    return STATUS_OK;
}

static enum status removeprefix(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call)
{
    return remove_affix(machine, out, call, true);
}

static enum status removesuffix(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call)
{
    return remove_affix(machine, out, call, false);
}

/* How many pieces are cut off at most; no limit where it is absent or negative. */
static enum status read_limit(struct jinja_machine *machine, size_t *limit,
                              struct jinja_value value)
{
    *limit = SIZE_MAX;
    if (value.kind == JINJA_ABSENT)
        return STATUS_OK;
    if (value.kind != JINJA_INT)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "a count must be a whole number, not %s",
                                  jinja_value_type(value));
    if (value.integer >= 0)
        *limit = (size_t)value.integer;
    return STATUS_OK;
}

static enum status add_slice(struct jinja_machine *machine, struct jinja_list *list,
                             const struct jinja_string *string, size_t first, size_t end)
{
    const struct jinja_string *slice;
    TRY(jinja_machine_step_slice(machine, string));
    TRY(jinja_string_slice(machine->arena, &slice, string, first, end));
    return jinja_list_add(list, jinja_value_string(slice));
}

/* Between white space. */
static enum status split_words(struct jinja_machine *machine, struct jinja_list *list,
                               const struct jinja_string *string, const char *text, size_t limit)
{
    size_t place = jinja_space_before(text, string->bytes);
    while (place < string->bytes && limit-- > 0) {
        size_t end = place;
        while (end < string->bytes && jinja_space_bytes(text + end, string->bytes - end) == 0)
            end++;
        TRY(add_slice(machine, list, string, place, end));
        place = end + jinja_space_before(text + end, string->bytes - end);
    }
    if (place == string->bytes)
        return STATUS_OK;
    const size_t behind = jinja_space_behind(text + place, string->bytes - place);
    return add_slice(machine, list, string, place, string->bytes - behind);
}

static enum status split(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    const struct jinja_string *string = call->in.string;
    const struct jinja_value separator = call->argument[0];
    struct jinja_list *list;
    const char *text, *needle;
    size_t limit, place = 0;
    TRY(jinja_machine_step_bytes(machine, string->bytes));
    TRY(read_limit(machine, &limit, call->argument[1]));
    TRY(jinja_list_make(&list, machine->arena));
    TRY(jinja_string_flat(machine->arena, &text, string));
    *out = jinja_value_list(JINJA_LIST, list);
    if (separator.kind == JINJA_ABSENT || separator.kind == JINJA_NONE)
        return split_words(machine, list, string, text, limit);
    TRY(want_string(machine, separator, "a separator"));
    if (separator.string->bytes == 0)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "an empty separator");
    TRY(jinja_string_flat(machine->arena, &needle, separator.string));
    for (; limit > 0; limit--) {
        const size_t found =
            jinja_operators_find(text, place, string->bytes, needle, separator.string->bytes);
        if (found == string->bytes)
            break;
        TRY(add_slice(machine, list, string, place, found));
        place = found + separator.string->bytes;
    }
    return add_slice(machine, list, string, place, string->bytes);
}

static enum status replace(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call)
{
    size_t limit;
    TRY(want_string(machine, call->argument[0], "what is replaced"));
    TRY(want_string(machine, call->argument[1], "a replacement"));
    TRY(read_limit(machine, &limit, call->argument[2]));
    return jinja_edit_replace(machine, out, call->in.string, call->argument[0].string,
                              call->argument[1].string, limit);
}

/* The byte at which a text first or last stands in another; `bytes` where it does not. */
static enum status locate(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call, bool is_last)
{
    const struct jinja_string *string = call->in.string, *before;
    const char *text, *needle;
    TRY(want_string(machine, call->argument[0], "what is looked for"));
    TRY(jinja_machine_step_bytes(machine, 2 * string->bytes));
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_string_flat(machine->arena, &needle, call->argument[0].string));
    const size_t bytes = call->argument[0].string->bytes;
    size_t found = bytes == 0 ? (is_last ? string->bytes : 0)
                              : jinja_operators_find(text, 0, string->bytes, needle, bytes);
    *out = jinja_value_int(-1);
    if (bytes > 0 && found == string->bytes)
        return STATUS_OK;
    for (size_t next = found; is_last && bytes > 0 && next < string->bytes;
         next = jinja_operators_find(text, next + 1, string->bytes, needle, bytes)) {
        TRY(jinja_machine_step_bytes(machine, 8 * bytes)); /* a needle is prepared each time */
        found = next;
    }
    TRY(jinja_machine_step_slice(machine, string));
    TRY(jinja_string_slice(machine->arena, &before, string, 0, found));
    *out = jinja_value_int((int64_t)jinja_string_length(before));
    return STATUS_OK;
}

static enum status find(struct jinja_machine *machine, struct jinja_value *out,
                        const struct jinja_call *call)
{
    return locate(machine, out, call, false);
}

static enum status rfind(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return locate(machine, out, call, true);
}

static enum status count(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    const struct jinja_string *string = call->in.string;
    const char *text, *needle;
    int64_t found = 0;
    TRY(want_string(machine, call->argument[0], "what is counted"));
    TRY(jinja_machine_step_bytes(machine, string->bytes));
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_string_flat(machine->arena, &needle, call->argument[0].string));
    const size_t bytes = call->argument[0].string->bytes;
    if (bytes == 0)
        found = (int64_t)jinja_string_length(string) + 1;
    for (size_t place = 0; bytes > 0; found++) {
        place = jinja_operators_find(text, place, string->bytes, needle, bytes);
        if (place == string->bytes)
            break;
        place += bytes;
    }
    *out = jinja_value_int(found);
    return STATUS_OK;
}

static enum status upper(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return jinja_letters_change(machine, out, call->in.string, JINJA_LETTERS_UPPER);
}

static enum status lower(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return jinja_letters_change(machine, out, call->in.string, JINJA_LETTERS_LOWER);
}

static enum status title(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return jinja_letters_change(machine, out, call->in.string, JINJA_LETTERS_TITLE);
}

static enum status capitalize(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_call *call)
{
    return jinja_letters_change(machine, out, call->in.string, JINJA_LETTERS_CAPITALIZE);
}

static enum status isdigit_text(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call)
{
    const struct jinja_string *string = call->in.string;
    bool are_digits = string->bytes > 0;
    TRY(jinja_machine_step_bytes(machine, 8 * string->bytes));
    for (size_t i = 0; i < string->count; i++)
        for (size_t b = 0; b < string->pieces[i].bytes; b++) {
            const unsigned char byte = (unsigned char)string->pieces[i].text[b];
            if (byte >= 0x80)
                return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                          "the method isdigit of characters that are not ASCII");
            are_digits &= byte >= '0' && byte <= '9';
        }
    *out = jinja_value_bool(are_digits);
    return STATUS_OK;
}

/* The methods of a dict. */

static enum status items(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return jinja_methods_items(machine, out, call->in.dict, JINJA_VIEW);
}

static enum status list_entries(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_dict *dict, bool keys)
{
    struct jinja_list *list;
    TRY(jinja_machine_step(machine, 1 + dict->count));
    TRY(jinja_list_make(&list, machine->arena));
    for (size_t i = 0; i < dict->count; i++)
        TRY(jinja_list_add(list, keys ? dict->entries[i].key : dict->entries[i].value));
    *out = jinja_value_list(JINJA_VIEW, list);
    return STATUS_OK;
}

static enum status keys(struct jinja_machine *machine, struct jinja_value *out,
                        const struct jinja_call *call)
{
    return list_entries(machine, out, call->in.dict, true);
}

static enum status values(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    return list_entries(machine, out, call->in.dict, false);
}

static enum status get(struct jinja_machine *machine, struct jinja_value *out,
                       const struct jinja_call *call)
{
    struct jinja_value *found;
    bool is_key;
    TRY(jinja_compare_is_hashable(machine, &is_key, call->argument[0]));
    if (!is_key)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "a value of type %s is no key of a dict",
                                  jinja_value_type(call->argument[0]));
    TRY(jinja_compare_find(machine, &found, call->in.dict, call->argument[0]));
    *out = found                                    ? *found
           : call->argument[1].kind == JINJA_ABSENT ? (struct jinja_value){.kind = JINJA_NONE}
                                                    : call->argument[1];
    return STATUS_OK;
}

enum status jinja_methods_items(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_dict *dict, enum jinja_kind kind)
{
    struct jinja_list *list, *pair;
    TRY(jinja_machine_step(machine, 1 + dict->count));
    TRY(jinja_list_make(&list, machine->arena));
    for (size_t i = 0; i < dict->count; i++) {
        TRY(jinja_list_make(&pair, machine->arena));
        TRY(jinja_list_add(pair, dict->entries[i].key));
        TRY(jinja_list_add(pair, dict->entries[i].value));
        TRY(jinja_list_add(list, jinja_value_list(JINJA_TUPLE, pair)));
    }
    *out = jinja_value_list(kind, list);
    return STATUS_OK;
}

static const struct jinja_function_row string_rows[] = {
    {"strip", "chars", strip},
    {"lstrip", "chars", lstrip},
    {"rstrip", "chars", rstrip},
    {"startswith", "prefix!", startswith},
    {"endswith", "suffix!", endswith},
    {"removeprefix", "prefix!", removeprefix},
    {"removesuffix", "suffix!", removesuffix},
    {"split", "sep maxsplit", split},
    {"replace", "old! new! count", replace},
    {"find", "sub!", find},
    {"rfind", "sub!", rfind},
    {"count", "sub!", count},
    {"upper", "", upper},
    {"lower", "", lower},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"isdigit", "", isdigit_text},
    {"format", "*", jinja_format},
    {"join", "", NULL},
    {"casefold", "", NULL},
    {"center", "", NULL},
    {"encode", "", NULL},
    {"expandtabs", "", NULL},
    {"index", "", NULL},
    {"isalnum", "", NULL},
    {"isalpha", "", NULL},
    {"isascii", "", NULL},
    {"isdecimal", "", NULL},
    {"isidentifier", "", NULL},
    {"islower", "", NULL},
    {"isnumeric", "", NULL},
    {"isprintable", "", NULL},
    {"isspace", "", NULL},
    {"istitle", "", NULL},
    {"isupper", "", NULL},
    {"ljust", "", NULL},
    {"maketrans", "", NULL},
    {"partition", "", NULL},
    {"rindex", "", NULL},
    {"rjust", "", NULL},
    {"rpartition", "", NULL},
    {"rsplit", "", NULL},
    {"splitlines", "", NULL},
    {"swapcase", "", NULL},
    {"translate", "", NULL},
    {"zfill", "", NULL},
    {NULL, NULL, NULL},
};

/* Without clear, pop, popitem, setdefault and update, which the sandbox hides. */
static const struct jinja_function_row dict_rows[] = {
    {"items", "", items},         {"keys", "", keys}, {"values", "", values},
    {"get", "key! default", get}, {"copy", "", NULL}, {"fromkeys", "", NULL},
    {NULL, NULL, NULL},
};

/* Without append, clear, extend, insert, pop, remove, reverse and sort. */
static const struct jinja_function_row list_rows[] = {
    {"copy", "", NULL},
    {"count", "", NULL},
    {"index", "", NULL},
    {NULL, NULL, NULL},
};

const struct jinja_function_row *jinja_methods_find(enum jinja_kind kind, const char *name)
{
    switch (kind) {
    case JINJA_STRING:
        return jinja_call_find(string_rows, name);
    case JINJA_DICT:
        return jinja_call_find(dict_rows, name);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        return jinja_call_find(list_rows, name);
    default:
        return NULL;
    }
}
