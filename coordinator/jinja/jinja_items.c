/* Owns the filters that make one thing of many, or many of many. */
#include "coordinator/jinja/jinja_items.h"

#include <string.h>

#include "coordinator/jinja/jinja_access.h"
#include "coordinator/jinja/jinja_filters.h"
#include "coordinator/jinja/jinja_operators.h"
#include "coordinator/jinja/jinja_show.h"
#include "coordinator/jinja/jinja_tests.h"

enum { NAME_BYTES_MAX = 64, DIGITS_MAX = 9 };

enum status jinja_items_length(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_call *call)
{
    const struct jinja_value in = call->in;
    size_t length = 0;
    if (in.kind == JINJA_STRING) {
        TRY(jinja_machine_step_bytes(machine, in.string->bytes));
        length = jinja_string_length(in.string);
    } else if (in.kind == JINJA_DICT) {
        length = in.dict->count;
    } else if (in.kind == JINJA_LOOP) {
        length = in.loop->list->count;
    } else if (jinja_value_is_list(in) && in.kind != JINJA_ITERATOR) {
        length = in.list->count;
    } else if (in.kind != JINJA_UNDEFINED) {
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "a value of type %s has no length", jinja_value_type(in));
    }
    *out = jinja_value_int((int64_t)length);
    return STATUS_OK;
}

enum status jinja_items_first(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_call *call)
{
    struct jinja_list *list = call->in.list;
    if (call->in.kind == JINJA_STRING)
        return jinja_access_item(machine, out, call->in, jinja_value_int(0));
    if (call->in.kind != JINJA_ITERATOR)
        TRY(jinja_access_walk(machine, &list, call->in));
    *out = jinja_machine_undefined(NULL);
    if (list->next == list->count)
        return STATUS_OK;
    *out = list->items[list->next];
    list->next += call->in.kind == JINJA_ITERATOR;
    return STATUS_OK;
}

static enum status refuse_iterator(struct jinja_machine *machine, struct jinja_value value)
{
    if (value.kind == JINJA_ITERATOR || value.kind == JINJA_UNDEFINED)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "a value of type %s has no end to begin from",
                                  jinja_value_type(value));
    return STATUS_OK;
}

enum status jinja_items_last(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call)
{
    struct jinja_list *list;
    if (call->in.kind == JINJA_STRING)
        return jinja_access_item(machine, out, call->in, jinja_value_int(-1));
    TRY(refuse_iterator(machine, call->in));
    TRY(jinja_access_walk(machine, &list, call->in));
    *out = list->count > 0 ? list->items[list->count - 1] : jinja_machine_undefined(NULL);
    return STATUS_OK;
}

static enum status copy_list(struct jinja_machine *machine, struct jinja_list **copy,
                             struct jinja_value value)
{
    struct jinja_list *list;
    TRY(jinja_access_walk(machine, &list, value));
    TRY(jinja_machine_step(machine, list->count));
    TRY(jinja_list_make(copy, machine->arena));
    for (size_t i = 0; i < list->count; i++)
        TRY(jinja_list_add(*copy, list->items[i]));
    return STATUS_OK;
}

enum status jinja_items_list(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call)
{
    struct jinja_list *copy;
    TRY(copy_list(machine, &copy, call->in));
    *out = jinja_value_list(JINJA_LIST, copy);
    return STATUS_OK;
}

enum status jinja_items_reverse(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call)
{
    const struct jinja_value backwards[3] = {
        {.kind = JINJA_ABSENT}, {.kind = JINJA_ABSENT}, jinja_value_int(-1)};
    struct jinja_list *list, *reversed;
    if (call->in.kind == JINJA_STRING)
        return jinja_access_slice(machine, out, call->in, backwards);
    TRY(jinja_access_walk(machine, &list, call->in));
    TRY(jinja_machine_step(machine, list->count));
    TRY(jinja_list_make(&reversed, machine->arena));
    for (size_t i = list->count; i-- > 0;)
        TRY(jinja_list_add(reversed, list->items[i]));
    *out = jinja_value_list(JINJA_ITERATOR, reversed);
    return STATUS_OK;
}

/* One step of a path: a number where it is written in digits. */
static enum status step_into(struct jinja_machine *machine, struct jinja_value *value,
                             const struct jinja_string *path, const char *part, size_t bytes,
                             size_t offset)
{
    const struct jinja_string *name;
    struct jinja_value index;
    bool is_number = bytes > 0 && bytes <= DIGITS_MAX;
    int64_t number = 0;
    for (size_t i = 0; i < bytes && is_number; i++) {
        is_number = part[i] >= '0' && part[i] <= '9';
        number = number * 10 + (part[i] - '0');
    }
    TRY(jinja_machine_step_slice(machine, path));
    TRY(jinja_string_slice(machine->arena, &name, path, offset, offset + bytes));
    index = is_number ? jinja_value_int(number) : jinja_value_string(name);
    return jinja_access_item(machine, value, *value, index);
}

enum status jinja_items_member(struct jinja_machine *machine, struct jinja_value *out,
                               struct jinja_value item, struct jinja_value path)
{
    const char *text;
    *out = item;
    if (path.kind == JINJA_ABSENT || path.kind == JINJA_NONE)
        return STATUS_OK;
    if (path.kind == JINJA_INT)
        return jinja_access_item(machine, out, item, path);
    if (path.kind != JINJA_STRING)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "an attribute is named by a text or a number, not %s",
                                  jinja_value_type(path));
    TRY(jinja_string_flat(machine->arena, &text, path.string));
    for (size_t place = 0;;) {
        const char *point = place < path.string->bytes
                                ? memchr(text + place, '.', path.string->bytes - place)
                                : NULL;
        const size_t end = point ? (size_t)(point - text) : path.string->bytes;
        TRY(step_into(machine, out, path.string, text + place, end - place, place));
        if (!point)
            return STATUS_OK;
        place = end + 1;
    }
}

enum status jinja_items_join(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call)
{
    struct jinja_text text = {.arena = machine->arena};
    const struct jinja_string *between = NULL, *part;
    struct jinja_list *list;
    TRY(jinja_access_walk(machine, &list, call->in));
    if (call->argument[0].kind != JINJA_ABSENT)
        TRY(jinja_show_string(machine, &between, call->argument[0]));
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value item;
        TRY(jinja_items_member(machine, &item, list->items[i], call->argument[1]));
        TRY(jinja_show_string(machine, &part, item));
        TRY(jinja_machine_step(machine, 1 + part->count / 8));
        if (i > 0 && between)
            TRY(jinja_text_add_string(&text, between));
        TRY(jinja_text_add_string(&text, part));
    }
    TRY(jinja_text_string(&text, &part));
    *out = jinja_value_string(part);
    return STATUS_OK;
}

enum status jinja_items_sum(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    struct jinja_list *list;
    TRY(jinja_access_walk(machine, &list, call->in));
    *out = call->argument[1].kind == JINJA_ABSENT ? jinja_value_int(0) : call->argument[1];
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value item;
        TRY(jinja_items_member(machine, &item, list->items[i], call->argument[0]));
        TRY(jinja_operators_apply(machine, out, JINJA_ADD, *out, item));
    }
    return STATUS_OK;
}

/* What map and select walk: jinja2 takes whatever is false for nothing. */
static enum status walk_unless_false(struct jinja_machine *machine, struct jinja_list **list,
                                     struct jinja_value value)
{
    if (!jinja_value_is_true(value))
        return jinja_list_make(list, machine->arena);
    return jinja_access_walk(machine, list, value);
}

/* The name of a filter or test that is given as an argument, ended by 0. */
static enum status read_name(struct jinja_machine *machine, char *name, size_t room,
                             struct jinja_value value)
{
    const char *text;
    if (value.kind != JINJA_STRING || value.string->bytes >= room)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "the name of a filter or test is missing");
    TRY(jinja_string_flat(machine->arena, &text, value.string));
    memcpy(name, text, value.string->bytes);
    name[value.string->bytes] = 0;
    return STATUS_OK;
}

/* The arguments behind the first `passed` ones. */
static struct jinja_args rest_of(const struct jinja_args *args, size_t passed)
{
    struct jinja_args rest = *args;
    rest.values += passed;
    rest.count -= passed;
    return rest;
}

static enum status find_filter(struct jinja_machine *machine, const struct jinja_function_row **row,
                               const struct jinja_args *args)
{
    char name[NAME_BYTES_MAX];
    if (args->count == 0)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "map needs the name of a filter, or an attribute");
    TRY(read_name(machine, name, sizeof name, args->values[0]));
    *row = jinja_filters_find(name);
    if (!*row)
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED, "the filter %s is not supported",
                                  name);
    return STATUS_OK;
}

enum status jinja_items_map(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    struct jinja_value attribute = {.kind = JINJA_ABSENT}, otherwise = {.kind = JINJA_ABSENT};
    const struct jinja_function_row *row = NULL;
    struct jinja_args rest = {.count = 0};
    struct jinja_list *list, *mapped;
    for (size_t i = 0; i < call->all->named_count && call->all->count == 0; i++) {
        if (strcmp(call->all->named[i].name->text, "attribute") == 0)
            attribute = call->all->named[i].value;
        if (strcmp(call->all->named[i].name->text, "default") == 0)
            otherwise = call->all->named[i].value;
    }
    if (attribute.kind == JINJA_ABSENT) {
        TRY(find_filter(machine, &row, call->all));
        rest = rest_of(call->all, 1);
    }
    TRY(walk_unless_false(machine, &list, call->in));
    TRY(jinja_list_make(&mapped, machine->arena));
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value item;
        TRY(jinja_machine_step(machine, 1));
        if (row)
            TRY(jinja_call_row(machine, &item, "filter", row, list->items[i], &rest));
        else
            TRY(jinja_items_member(machine, &item, list->items[i], attribute));
        if (item.kind == JINJA_UNDEFINED && otherwise.kind != JINJA_ABSENT)
            item = otherwise;
        TRY(jinja_list_add(mapped, item));
    }
    *out = jinja_value_list(JINJA_ITERATOR, mapped);
    return STATUS_OK;
}

/* The items, or those whose member is meant, for which a test holds, or does not. Without a test,
 * what is true. */
static enum status filter_items(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call, bool by_member, bool wanted)
{
    const struct jinja_args *args = call->all;
    struct jinja_args rest = {.count = 0};
    const struct jinja_function_row *row = NULL;
    struct jinja_list *list, *selected;
    char name[NAME_BYTES_MAX];
    if (by_member && args->count == 0)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "the name of an attribute is missing");
    if (args->count > by_member) {
        TRY(read_name(machine, name, sizeof name, args->values[by_member]));
        row = jinja_tests_find(name);
        rest = rest_of(args, 1 + (size_t)by_member);
        if (!row)
            return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED, "the test %s is not supported",
                                      name);
    }
    TRY(walk_unless_false(machine, &list, call->in));
    TRY(jinja_list_make(&selected, machine->arena));
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value value = list->items[i], holds;
        if (by_member)
            TRY(jinja_items_member(machine, &value, value, args->values[0]));
        holds = value;
        if (row)
            TRY(jinja_call_row(machine, &holds, "test", row, value, &rest));
        TRY(jinja_machine_step(machine, 1));
        if (jinja_value_is_true(holds) == wanted)
            TRY(jinja_list_add(selected, list->items[i]));
    }
    *out = jinja_value_list(JINJA_ITERATOR, selected);
    return STATUS_OK;
}

enum status jinja_items_select(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_call *call)
{
    return filter_items(machine, out, call, false, true);
}

enum status jinja_items_reject(struct jinja_machine *machine, struct jinja_value *out,
                               const struct jinja_call *call)
{
    return filter_items(machine, out, call, false, false);
}

enum status jinja_items_selectattr(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_call *call)
{
    return filter_items(machine, out, call, true, true);
}

enum status jinja_items_rejectattr(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_call *call)
{
    return filter_items(machine, out, call, true, false);
}
