/* Owns a stable sort. */
#include "coordinator/jinja/jinja_sort.h"

#include <string.h>

#include "coordinator/jinja/jinja_access.h"
#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_items.h"
#include "coordinator/jinja/jinja_letters.h"
#include "coordinator/jinja/jinja_methods.h"

struct sorted {
    struct jinja_value key;
    struct jinja_value item;
};

static enum status make_key(struct jinja_machine *machine, struct jinja_value *key,
                            struct jinja_value item, struct jinja_value attribute,
                            bool is_case_sensitive)
{
    TRY(jinja_items_member(machine, key, item, attribute));
    if (key->kind == JINJA_STRING && !is_case_sensitive)
        return jinja_letters_change(machine, key, key->string, JINJA_LETTERS_LOWER);
    return STATUS_OK;
}

static enum status is_before(struct jinja_machine *machine, bool *is, const struct sorted *a,
                             const struct sorted *b, bool is_reversed)
{
    int order;
    bool has_order;
    TRY(jinja_machine_step(machine, 1));
    TRY(jinja_compare_order(machine, &has_order, &order, a->key, b->key));
    if (!has_order)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "values of type %s and %s have no order",
                                  jinja_value_type(a->key), jinja_value_type(b->key));
    *is = is_reversed ? order > 0 : order < 0;
    return STATUS_OK;
}

/* From `from`, in runs of `run` items that are sorted, to `to` in runs of twice as many. */
static enum status merge(struct jinja_machine *machine, struct sorted *to,
                         const struct sorted *from, size_t count, size_t run, bool is_reversed)
{
    for (size_t start = 0; start < count; start += 2 * run) {
        const size_t middle = start + run < count ? start + run : count;
        const size_t end = middle + run < count ? middle + run : count;
        size_t left = start, right = middle;
        for (size_t i = start; i < end; i++) {
            bool takes_right = left == middle;
            if (left < middle && right < end)
                TRY(is_before(machine, &takes_right, &from[right], &from[left], is_reversed));
            to[i] = takes_right ? from[right++] : from[left++];
        }
    }
    return STATUS_OK;
}

static enum status sort_all(struct jinja_machine *machine, struct sorted **rows, size_t count,
                            bool is_reversed)
{
    struct sorted *other = jinja_arena_take(machine->arena, count * sizeof *other);
    if (!other)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    for (size_t run = 1; run < count; run *= 2) {
        struct sorted *from = *rows;
        TRY(merge(machine, other, from, count, run, is_reversed));
        *rows = other;
        other = from;
    }
    return STATUS_OK;
}

static enum status make_rows(struct jinja_machine *machine, struct sorted **rows, size_t *count,
                             struct jinja_value in, struct jinja_value attribute,
                             bool is_case_sensitive)
{
    struct jinja_list *list;
    TRY(jinja_access_walk(machine, &list, in));
    *count = list->count;
    *rows = jinja_arena_take(machine->arena, list->count * sizeof **rows);
    if (!*rows)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    for (size_t i = 0; i < list->count; i++) {
        (*rows)[i].item = list->items[i];
        TRY(make_key(machine, &(*rows)[i].key, list->items[i], attribute, is_case_sensitive));
    }
    return STATUS_OK;
}

static enum status list_of(struct jinja_machine *machine, struct jinja_value *out,
                           const struct sorted *rows, size_t count)
{
    struct jinja_list *list;
    TRY(jinja_list_make(&list, machine->arena));
    for (size_t i = 0; i < count; i++)
        TRY(jinja_list_add(list, rows[i].item));
    *out = jinja_value_list(JINJA_LIST, list);
    return STATUS_OK;
}

enum status jinja_sort_sort(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    const struct jinja_value attribute = call->argument[2];
    struct sorted *rows;
    size_t count;
    const char *text;
    if (attribute.kind == JINJA_STRING) {
        TRY(jinja_string_flat(machine->arena, &text, attribute.string));
        if (attribute.string->bytes > 0 && memchr(text, ',', attribute.string->bytes))
            return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                      "sorting by several attributes is not supported");
    }
    TRY(make_rows(machine, &rows, &count, call->in, attribute,
                  jinja_value_is_true(call->argument[1])));
    TRY(sort_all(machine, &rows, count, jinja_value_is_true(call->argument[0])));
    return list_of(machine, out, rows, count);
}

enum status jinja_sort_unique(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_call *call)
{
    struct jinja_list *unique;
    struct sorted *rows;
    size_t count;
    TRY(make_rows(machine, &rows, &count, call->in, call->argument[1],
                  jinja_value_is_true(call->argument[0])));
    TRY(jinja_list_make(&unique, machine->arena));
    for (size_t i = 0; i < count; i++) {
        bool is_there = false, is_key;
        TRY(jinja_machine_step(machine, 1 + i));
        TRY(jinja_compare_is_hashable(machine, &is_key, rows[i].key));
        if (!is_key)
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                      "unique: a value of type %s cannot be told apart",
                                      jinja_value_type(rows[i].key));
        for (size_t k = 0; k < i && !is_there; k++)
            TRY(jinja_compare_equals(machine, &is_there, rows[i].key, rows[k].key));
        if (!is_there)
            TRY(jinja_list_add(unique, rows[i].item));
    }
    *out = jinja_value_list(JINJA_ITERATOR, unique);
    return STATUS_OK;
}

static enum status extreme(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call, bool is_max)
{
    struct sorted *rows;
    size_t count, best = 0;
    TRY(make_rows(machine, &rows, &count, call->in, call->argument[1],
                  jinja_value_is_true(call->argument[0])));
    *out = jinja_machine_undefined(NULL);
    for (size_t i = 1; i < count; i++) {
        bool is_better;
        TRY(is_before(machine, &is_better, &rows[i], &rows[best], is_max));
        best = is_better ? i : best;
    }
    if (count > 0)
        *out = rows[best].item;
    return STATUS_OK;
}

enum status jinja_sort_min(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call)
{
    return extreme(machine, out, call, false);
}

enum status jinja_sort_max(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_call *call)
{
    return extreme(machine, out, call, true);
}

enum status jinja_sort_dict(struct jinja_machine *machine, struct jinja_value *out,
                            const struct jinja_call *call)
{
    const struct jinja_value by = call->argument[1];
    struct jinja_value pairs;
    struct sorted *rows;
    size_t count;
    bool by_value = by.kind == JINJA_STRING && jinja_string_is(by.string, "value");
    if (call->in.kind != JINJA_DICT)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "dictsort takes a dict, not a value of type %s",
                                  jinja_value_type(call->in));
    if (by.kind != JINJA_ABSENT && !by_value &&
        !(by.kind == JINJA_STRING && jinja_string_is(by.string, "key")))
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "dictsort sorts by \"key\" or \"value\"");
    TRY(jinja_methods_items(machine, &pairs, call->in.dict, JINJA_LIST));
    TRY(make_rows(machine, &rows, &count, pairs, jinja_value_int(by_value),
                  jinja_value_is_true(call->argument[0])));
    TRY(sort_all(machine, &rows, count, jinja_value_is_true(call->argument[2])));
    return list_of(machine, out, rows, count);
}
