/* Owns lists and dicts. Promises that nothing recurses or compares without a limit. */
#include "coordinator/jinja/jinja_value.h"

#include <string.h>

enum { DEPTH_MAX = 100, BYTES_A_STEP = 64, ITEMS_A_STEP = 8 };

struct jinja_value jinja_value_bool(bool truth)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .truth = truth};
}

struct jinja_value jinja_value_int(int64_t integer)
{
    return (struct jinja_value){.kind = JINJA_INT, .integer = integer};
}

struct jinja_value jinja_value_string(const struct jinja_string *string)
{
    return (struct jinja_value){.kind = JINJA_STRING, .string = string};
}

struct jinja_value jinja_value_list(enum jinja_kind kind, struct jinja_list *list)
{
    return (struct jinja_value){.kind = kind, .list = list};
}

enum status jinja_value_text(struct jinja_value *value, struct jinja_arena *arena, const char *text,
                             size_t bytes, bool is_own)
{
    const struct jinja_string *string;
    TRY(jinja_string_make(arena, &string, text, bytes, is_own));
    *value = jinja_value_string(string);
    return STATUS_OK;
}

static enum status no_room(void)
{
    return fail(STATUS_OUT_OF_RANGE, "the chat template needs more memory than it may take");
}

enum status jinja_list_make(struct jinja_list **list, struct jinja_arena *arena)
{
    struct jinja_list *made = jinja_arena_take(arena, sizeof *made);
    if (!made)
        return no_room();
    *made = (struct jinja_list){.arena = arena};
    *list = made;
    return STATUS_OK;
}

enum status jinja_list_add(struct jinja_list *list, struct jinja_value item)
{
    if (list->count == list->room) {
        const size_t room = list->room ? 2 * list->room : 4;
        struct jinja_value *items = jinja_arena_take(list->arena, room * sizeof *items);
        if (!items)
            return no_room();
        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->room = room;
    }
    list->items[list->count++] = item;
    return STATUS_OK;
}

enum status jinja_dict_make(struct jinja_dict **dict, struct jinja_arena *arena)
{
    struct jinja_dict *made = jinja_arena_take(arena, sizeof *made);
    if (!made)
        return no_room();
    *made = (struct jinja_dict){.arena = arena};
    *dict = made;
    return STATUS_OK;
}

enum status jinja_dict_add(struct jinja_dict *dict, struct jinja_value key,
                           struct jinja_value value)
{
    if (dict->count == dict->room) {
        const size_t room = dict->room ? 2 * dict->room : 4;
        struct jinja_entry *entries = jinja_arena_take(dict->arena, room * sizeof *entries);
        if (!entries)
            return no_room();
        if (dict->count > 0)
            memcpy(entries, dict->entries, dict->count * sizeof *entries);
        dict->entries = entries;
        dict->room = room;
    }
    dict->entries[dict->count++] = (struct jinja_entry){key, value};
    return STATUS_OK;
}

enum status jinja_dict_put_named(struct jinja_dict *dict, const char *key, struct jinja_value value)
{
    struct jinja_value name, *there = jinja_dict_find_text(dict, key, strlen(key));
    if (there) {
        *there = value;
        return STATUS_OK;
    }
    TRY(jinja_value_text(&name, dict->arena, key, strlen(key), true));
    return jinja_dict_add(dict, name, value);
}

/* False past the limit, and from there on. */
static bool pay(int64_t *steps_left, size_t steps)
{
    if ((uint64_t)steps >= (uint64_t)*steps_left) {
        *steps_left = 0;
        return false;
    }
    *steps_left -= (int64_t)steps;
    return true;
}

static bool pay_strings(int64_t *steps_left, const struct jinja_string *a,
                        const struct jinja_string *b)
{
    const size_t bytes = a->bytes < b->bytes ? a->bytes : b->bytes;
    return pay(steps_left, bytes / BYTES_A_STEP + (a->count + b->count) / ITEMS_A_STEP);
}

struct jinja_value *jinja_dict_find(const struct jinja_dict *dict, struct jinja_value key,
                                    int64_t *steps_left)
{
    if (!pay(steps_left, dict->count / ITEMS_A_STEP))
        return NULL;
    for (size_t i = 0; i < dict->count; i++)
        if (jinja_value_equals(dict->entries[i].key, key, steps_left))
            return &dict->entries[i].value;
    return NULL;
}

struct jinja_value *jinja_dict_find_text(const struct jinja_dict *dict, const char *text,
                                         size_t bytes)
{
    int64_t steps_left = INT64_MAX;
    struct jinja_piece piece = {text, bytes, false};
    const struct jinja_string string = {.bytes = bytes, .count = bytes > 0, .pieces = &piece};
    return jinja_dict_find(dict, jinja_value_string(&string), &steps_left);
}

bool jinja_value_is_list(struct jinja_value value)
{
    return value.kind >= JINJA_LIST && value.kind <= JINJA_ITERATOR;
}

bool jinja_value_is_number(struct jinja_value value)
{
    return value.kind == JINJA_BOOL || value.kind == JINJA_INT || value.kind == JINJA_FLOAT;
}

bool jinja_value_is_true(struct jinja_value value)
{
    switch (value.kind) {
    case JINJA_ABSENT:
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return false;
    case JINJA_BOOL:
        return value.truth;
    case JINJA_INT:
        return value.integer != 0;
    case JINJA_FLOAT:
        return value.real != 0;
    case JINJA_STRING:
        return value.string->bytes > 0;
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_VIEW:
    case JINJA_RANGE:
        return value.list->count > 0;
    case JINJA_DICT:
        return value.dict->count > 0;
    default:
        return true;
    }
}

/* A bool counts as 0 or 1. */
static int64_t integer_of(struct jinja_value value)
{
    return value.kind == JINJA_BOOL ? value.truth : value.integer;
}

static int order_numbers(struct jinja_value a, struct jinja_value b)
{
    if (a.kind != JINJA_FLOAT && b.kind != JINJA_FLOAT)
        return (integer_of(a) > integer_of(b)) - (integer_of(a) < integer_of(b));
    const double left = a.kind == JINJA_FLOAT ? a.real : (double)integer_of(a);
    const double right = b.kind == JINJA_FLOAT ? b.real : (double)integer_of(b);
    return (left > right) - (left < right);
}

static bool is_nan(struct jinja_value value)
{
    return value.kind == JINJA_FLOAT && value.real != value.real;
}

static bool equals_within(struct jinja_value a, struct jinja_value b, int64_t *steps_left,
                          int depth);

static bool lists_equal(const struct jinja_list *a, const struct jinja_list *b, int64_t *steps_left,
                        int depth)
{
    if (a->count != b->count || !pay(steps_left, 1 + a->count / ITEMS_A_STEP))
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!equals_within(a->items[i], b->items[i], steps_left, depth))
            return false;
    return true;
}

static bool dicts_equal(const struct jinja_dict *a, const struct jinja_dict *b, int64_t *steps_left,
                        int depth)
{
    if (a->count != b->count || !pay(steps_left, 1 + a->count))
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct jinja_value *other = jinja_dict_find(b, a->entries[i].key, steps_left);
        if (!other || !equals_within(a->entries[i].value, *other, steps_left, depth))
            return false;
    }
    return true;
}

static bool strings_equal(const struct jinja_string *a, const struct jinja_string *b,
                          int64_t *steps_left)
{
    return a->bytes == b->bytes && pay_strings(steps_left, a, b) && jinja_string_compare(a, b) == 0;
}

static bool equals_within(struct jinja_value a, struct jinja_value b, int64_t *steps_left,
                          int depth)
{
    if (depth == DEPTH_MAX || *steps_left == 0)
        return false;
    if (jinja_value_is_number(a) && jinja_value_is_number(b))
        return !is_nan(a) && !is_nan(b) && order_numbers(a, b) == 0;
    if (a.kind != b.kind)
        return false;
    switch (a.kind) {
    case JINJA_STRING:
        return strings_equal(a.string, b.string, steps_left);
    case JINJA_LIST:
    case JINJA_TUPLE:
    case JINJA_RANGE:
        return lists_equal(a.list, b.list, steps_left, depth + 1);
    case JINJA_DICT:
        return dicts_equal(a.dict, b.dict, steps_left, depth + 1);
    case JINJA_UNDEFINED:
    case JINJA_NONE:
        return true;
    default:
        return a.list == b.list; /* the same thing */
    }
}

bool jinja_value_equals(struct jinja_value a, struct jinja_value b, int64_t *steps_left)
{
    return equals_within(a, b, steps_left, 0);
}

static bool order_within(int *order, struct jinja_value a, struct jinja_value b,
                         int64_t *steps_left, int depth)
{
    if (depth == DEPTH_MAX || *steps_left == 0)
        return false;
    if (jinja_value_is_number(a) && jinja_value_is_number(b)) {
        *order = order_numbers(a, b);
        return !is_nan(a) && !is_nan(b);
    }
    if (a.kind != b.kind)
        return false;
    if (a.kind == JINJA_STRING) {
        if (!pay_strings(steps_left, a.string, b.string))
            return false;
        *order = jinja_string_compare(a.string, b.string);
        return true;
    }
    if (a.kind != JINJA_LIST && a.kind != JINJA_TUPLE)
        return false;
    const size_t count = a.list->count < b.list->count ? a.list->count : b.list->count;
    if (!pay(steps_left, 1 + count / ITEMS_A_STEP))
        return false;
    for (size_t i = 0; i < count; i++)
        if (!jinja_value_equals(a.list->items[i], b.list->items[i], steps_left))
            return order_within(order, a.list->items[i], b.list->items[i], steps_left, depth + 1);
    *order = (a.list->count > b.list->count) - (a.list->count < b.list->count);
    return true;
}

bool jinja_value_order(int *order, struct jinja_value a, struct jinja_value b, int64_t *steps_left)
{
    return order_within(order, a, b, steps_left, 0);
}

const char *jinja_value_type(struct jinja_value value)
{
    static const char *const names[] = {
        [JINJA_ABSENT] = "nothing", [JINJA_UNDEFINED] = "undefined",
        [JINJA_NONE] = "none",      [JINJA_BOOL] = "bool",
        [JINJA_INT] = "int",        [JINJA_FLOAT] = "float",
        [JINJA_STRING] = "str",     [JINJA_LIST] = "list",
        [JINJA_TUPLE] = "tuple",    [JINJA_VIEW] = "view of a dict",
        [JINJA_RANGE] = "range",    [JINJA_ITERATOR] = "iterator",
        [JINJA_DICT] = "dict",      [JINJA_NAMESPACE] = "namespace",
        [JINJA_LOOP] = "loop",      [JINJA_MACRO] = "macro",
        [JINJA_METHOD] = "method",  [JINJA_FUNCTION] = "function",
    };
    return names[value.kind];
}

static bool hashable_within(struct jinja_value value, int64_t *steps_left, int depth)
{
    if (value.kind == JINJA_LIST || value.kind == JINJA_DICT || depth == DEPTH_MAX)
        return false;
    if (value.kind == JINJA_TUPLE && !pay(steps_left, 1 + value.list->count / ITEMS_A_STEP))
        return false;
    for (size_t i = 0; value.kind == JINJA_TUPLE && i < value.list->count; i++)
        if (!hashable_within(value.list->items[i], steps_left, depth + 1))
            return false;
    return true;
}

bool jinja_value_is_hashable(struct jinja_value value, int64_t *steps_left)
{
    return hashable_within(value, steps_left, 0);
}
