/* Owns the list of filters, and those that work on one value. */
#include "coordinator/jinja/jinja_filters.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_edit.h"
#include "coordinator/jinja/jinja_items.h"
#include "coordinator/jinja/jinja_letters.h"
#include "coordinator/jinja/jinja_lines.h"
#include "coordinator/jinja/jinja_methods.h"
#include "coordinator/jinja/jinja_operators.h"
#include "coordinator/jinja/jinja_show.h"
#include "coordinator/jinja/jinja_sort.h"

enum { NUMBER_BYTES_MAX = 64, JSON_INDENT_MAX = 64 };

static bool is_given(struct jinja_value value)
{
    return value.kind != JINJA_ABSENT && value.kind != JINJA_NONE;
}

static enum status trim(struct jinja_machine *machine, struct jinja_value *out,
                        const struct jinja_call *call)
{
    const struct jinja_string *string, *characters = NULL;
    TRY(jinja_show_string(machine, &string, call->in));
    if (is_given(call->argument[0]))
        TRY(jinja_show_string(machine, &characters, call->argument[0]));
    return jinja_edit_strip(machine, out, string, characters, true, true);
}

static enum status change(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call, enum jinja_letters how)
{
    const struct jinja_string *string;
    TRY(jinja_show_string(machine, &string, call->in));
    return jinja_letters_change(machine, out, string, how);
}

static enum status upper(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return change(machine, out, call, JINJA_LETTERS_UPPER);
}

static enum status lower(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return change(machine, out, call, JINJA_LETTERS_LOWER);
}

static enum status title(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    return change(machine, out, call, JINJA_LETTERS_WORDS);
}

static enum status capitalize(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_call *call)
{
    return change(machine, out, call, JINJA_LETTERS_CAPITALIZE);
}

static enum status string_of(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call)
{
    const struct jinja_string *string;
    TRY(jinja_show_string(machine, &string, call->in));
    *out = jinja_value_string(string);
    return STATUS_OK;
}

static enum status safe(struct jinja_machine *machine, struct jinja_value *out,
                        const struct jinja_call *call)
{
    const struct jinja_string *string, *copy;
    TRY(jinja_show_string(machine, &string, call->in));
    TRY(jinja_machine_step_slice(machine, string));
    TRY(jinja_string_slice(machine->arena, &copy, string, 0, string->bytes));
    ((struct jinja_string *)copy)->is_safe = true;
    *out = jinja_value_string(copy);
    return STATUS_OK;
}

static enum status replace(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call)
{
    const struct jinja_string *string, *old, *new_text;
    const struct jinja_value count = call->argument[2];
    TRY(jinja_show_string(machine, &string, call->in));
    TRY(jinja_show_string(machine, &old, call->argument[0]));
    TRY(jinja_show_string(machine, &new_text, call->argument[1]));
    if (is_given(count) && count.kind != JINJA_INT)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "replace: a count must be a whole number");
    const bool is_limited = count.kind == JINJA_INT && count.integer >= 0;
    return jinja_edit_replace(machine, out, string, old, new_text,
                              is_limited ? (size_t)count.integer : SIZE_MAX);
}

static enum status default_of(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_call *call)
{
    const bool is_missing =
        call->in.kind == JINJA_UNDEFINED ||
        (jinja_value_is_true(call->argument[1]) && !jinja_value_is_true(call->in));
    *out = is_missing ? call->argument[0] : call->in;
    if (out->kind == JINJA_ABSENT)
        return jinja_value_text(out, machine->arena, "", 0, true);
    return STATUS_OK;
}

/* The indent of tojson: a number of spaces, or a text. */
static enum status read_json_indent(struct jinja_machine *machine,
                                    const struct jinja_string **indent, struct jinja_value value)
{
    static const char spaces[JSON_INDENT_MAX + 1] =
        "                                                                ";
    if (!is_given(value))
        return STATUS_OK;
    if (value.kind == JINJA_STRING) {
        *indent = value.string;
        return STATUS_OK;
    }
    if (value.kind != JINJA_INT || value.integer > JSON_INDENT_MAX)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "tojson: an indent is a text or a number up to %d",
                                  JSON_INDENT_MAX);
    return jinja_string_make(machine->arena, indent, spaces,
                             value.integer > 0 ? (size_t)value.integer : 0, true);
}

static enum status read_json_separators(struct jinja_machine *machine,
                                        struct jinja_show_json_args *args, struct jinja_value value)
{
    if (!is_given(value))
        return STATUS_OK;
    const bool are_two = (value.kind == JINJA_TUPLE || value.kind == JINJA_LIST) &&
                         value.list->count == 2 && value.list->items[0].kind == JINJA_STRING &&
                         value.list->items[1].kind == JINJA_STRING;
    if (!are_two)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "tojson: separators are two texts");
    args->item_between = value.list->items[0].string;
    args->key_behind = value.list->items[1].string;
    return STATUS_OK;
}

static enum status tojson(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    struct jinja_show_json_args args = {
        .is_ascii = jinja_value_is_true(call->argument[0]),
        .is_sorted = jinja_value_is_true(call->argument[3]),
    };
    const struct jinja_string *string;
    TRY(read_json_indent(machine, &args.indent, call->argument[1]));
    TRY(read_json_separators(machine, &args, call->argument[2]));
    TRY(jinja_show_json(machine, &string, call->in, &args));
    *out = jinja_value_string(string);
    return STATUS_OK;
}

/* Digits with a sign and white space around them, as Python's int() and float() read them: what
 * strtoll or strtod make of it, if they read all. */
static bool read_number(struct jinja_value *out, const char *text, size_t bytes, bool is_float)
{
    char copy[NUMBER_BYTES_MAX], *end;
    size_t first = 0;
    while (first < bytes && strchr(" \t\n\v\f\r", text[first]) && text[first])
        first++;
    while (bytes > first && strchr(" \t\n\v\f\r", text[bytes - 1]) && text[bytes - 1])
        bytes--;
    if (bytes == first || bytes - first >= sizeof copy)
        return false;
    memcpy(copy, text + first, bytes - first);
    copy[bytes - first] = 0;
    if (strlen(copy) != bytes - first || strpbrk(copy, "xXpP(_"))
        return false;
    errno = 0;
    if (is_float)
        *out = (struct jinja_value){.kind = JINJA_FLOAT, .real = strtod(copy, &end)};
    else
        *out = jinja_value_int(strtoll(copy, &end, 10));
    return *end == 0 && (is_float || errno != ERANGE);
}

static enum status truncate_real(struct jinja_machine *machine, struct jinja_value *out,
                                 double real)
{
    if (!(real > -9.2e18 && real < 9.2e18))
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                  "int of a number that does not fit 64 bits");
    *out = jinja_value_int((int64_t)real);
    return STATUS_OK;
}

/* As jinja2: what is no number gives the default. */
static enum status to_number(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call, bool is_float)
{
    const char *text;
    const struct jinja_value in = call->in;
    struct jinja_value real = {.kind = JINJA_FLOAT};
    if (in.kind == JINJA_UNDEFINED)
        return jinja_operators_apply(machine, out, JINJA_ADD, in, jinja_value_int(0));
    if (in.kind == JINJA_STRING)
        TRY(jinja_string_flat(machine->arena, &text, in.string));
    if (in.kind == JINJA_STRING && !is_float && read_number(out, text, in.string->bytes, false))
        return STATUS_OK;
    bool is_number = in.kind == JINJA_STRING && read_number(&real, text, in.string->bytes, true);
    if (jinja_value_is_number(in)) {
        is_number = true;
        real.real = in.kind == JINJA_FLOAT ? in.real
                    : in.kind == JINJA_INT ? (double)in.integer
                                           : in.truth;
    }
    if (!is_number)
        *out = call->argument[0].kind != JINJA_ABSENT ? call->argument[0]
               : is_float                             ? (struct jinja_value){.kind = JINJA_FLOAT}
                                                      : jinja_value_int(0);
    else if (is_float)
        *out = real;
    else if (in.kind == JINJA_INT)
        *out = in;
    else
        return truncate_real(machine, out, real.real);
    return STATUS_OK;
}

static enum status to_int(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    bool is_ten = true;
    if (call->argument[1].kind != JINJA_ABSENT)
        TRY(jinja_compare_equals(machine, &is_ten, call->argument[1], jinja_value_int(10)));
    if (!is_ten)
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                  "int with another base than 10 is not supported");
    return to_number(machine, out, call, false);
}

static enum status to_float(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    return to_number(machine, out, call, true);
}

static enum status absolute(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    int order;
    bool has_order;
    TRY(jinja_compare_order(machine, &has_order, &order, call->in, jinja_value_int(0)));
    if (has_order && order >= 0)
        return jinja_operators_apply(machine, out, JINJA_ADD, call->in, jinja_value_int(0));
    return jinja_operators_negate(machine, out, call->in);
}

static enum status items(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    static const struct jinja_dict nothing = {.count = 0};
    if (call->in.kind != JINJA_DICT && call->in.kind != JINJA_UNDEFINED)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "items takes a dict, not a value of type %s",
                                  jinja_value_type(call->in));
    return jinja_methods_items(machine, out, call->in.kind == JINJA_DICT ? call->in.dict : &nothing,
                               JINJA_ITERATOR);
}

static enum status indent(struct jinja_machine *machine, struct jinja_value *out,
                          const struct jinja_call *call)
{
    if (call->in.kind != JINJA_STRING)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "indent takes a text, not a value of type %s",
                                  jinja_value_type(call->in));
    return jinja_lines_indent(machine, out, call->in.string, call->argument);
}

static const struct jinja_function_row rows[] = {
    {"trim", "chars", trim},
    {"upper", "", upper},
    {"lower", "", lower},
    {"title", "", title},
    {"capitalize", "", capitalize},
    {"string", "", string_of},
    {"safe", "", safe},
    {"replace", "old! new! count", replace},
    {"default", "default_value boolean", default_of},
    {"d", "default_value boolean", default_of},
    {"tojson", "ensure_ascii indent separators sort_keys", tojson},
    {"indent", "width first blank", indent},
    {"int", "default base", to_int},
    {"float", "default", to_float},
    {"abs", "", absolute},
    {"items", "", items},
    {"length", "", jinja_items_length},
    {"count", "", jinja_items_length},
    {"first", "", jinja_items_first},
    {"last", "", jinja_items_last},
    {"list", "", jinja_items_list},
    {"reverse", "", jinja_items_reverse},
    {"join", "d attribute", jinja_items_join},
    {"sum", "attribute start", jinja_items_sum},
    {"map", "*", jinja_items_map},
    {"select", "*", jinja_items_select},
    {"reject", "*", jinja_items_reject},
    {"selectattr", "*", jinja_items_selectattr},
    {"rejectattr", "*", jinja_items_rejectattr},
    {"attr", "", NULL},
    {"sort", "reverse case_sensitive attribute", jinja_sort_sort},
    {"unique", "case_sensitive attribute", jinja_sort_unique},
    {"min", "case_sensitive attribute", jinja_sort_min},
    {"max", "case_sensitive attribute", jinja_sort_max},
    {"dictsort", "case_sensitive by reverse", jinja_sort_dict},
    {"batch", "", NULL},
    {"center", "", NULL},
    {"e", "", NULL},
    {"escape", "", NULL},
    {"filesizeformat", "", NULL},
    {"forceescape", "", NULL},
    {"format", "", NULL},
    {"groupby", "", NULL},
    {"pprint", "", NULL},
    {"random", "", NULL},
    {"round", "", NULL},
    {"slice", "", NULL},
    {"striptags", "", NULL},
    {"truncate", "", NULL},
    {"urlencode", "", NULL},
    {"urlize", "", NULL},
    {"wordcount", "", NULL},
    {"wordwrap", "", NULL},
    {"xmlattr", "", NULL},
    {NULL, NULL, NULL},
};

const struct jinja_function_row *jinja_filters_find(const char *name)
{
    return jinja_call_find(rows, name);
}
