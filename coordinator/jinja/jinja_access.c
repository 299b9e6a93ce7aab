/* Owns look-ups. */
#include "coordinator/jinja/jinja_access.h"

#include <string.h>

#include "coordinator/jinja/jinja_call.h"
#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_loop.h"
#include "coordinator/jinja/jinja_methods.h"

enum { NAME_BYTES_MAX = 64 };

static enum status refuse_undefined(struct jinja_machine *machine, struct jinja_value of)
{
    const char *name = "";
    if (of.string)
        TRY(jinja_string_flat(machine->arena, &name, of.string));
    return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "'%.*s' is undefined",
                              of.string ? (int)(of.string->bytes < 60 ? of.string->bytes : 60) : 0,
                              name);
}

/* `out` stays as it is where the key is not there. */
static enum status find_entry(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_dict *dict, struct jinja_value key)
{
    struct jinja_value *found;
    TRY(jinja_compare_find(machine, &found, dict, key));
    *out = found ? *found : *out;
    return STATUS_OK;
}

/* An attribute that Python's type has, or a namespace or a loop; undefined where there is none. */
static enum status find_attribute(struct jinja_machine *machine, struct jinja_value *out,
                                  struct jinja_value of, const struct jinja_string *name)
{
    char text[NAME_BYTES_MAX];
    const char *flat;
    *out = jinja_machine_undefined(name);
    if (of.kind == JINJA_NAMESPACE)
        return find_entry(machine, out, of.dict, jinja_value_string(name));
    if (name->bytes == 0 || name->bytes >= sizeof text)
        return STATUS_OK;
    TRY(jinja_string_flat(machine->arena, &flat, name));
    memcpy(text, flat, name->bytes);
    text[name->bytes] = 0;
    if (of.kind == JINJA_LOOP && jinja_loop_attribute(out, of.loop, text))
        return STATUS_OK;
    const struct jinja_function_row *row = jinja_methods_find(of.kind, text);
    if (!row)
        return STATUS_OK;
    struct jinja_method *method = jinja_arena_take(machine->arena, sizeof *method);
    if (!method)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    *method = (struct jinja_method){row, of};
    *out = (struct jinja_value){.kind = JINJA_METHOD, .method = method};
    return STATUS_OK;
}

enum status jinja_access_attribute(struct jinja_machine *machine, struct jinja_value *out,
                                   struct jinja_value of, const struct jinja_string *name)
{
    if (of.kind == JINJA_UNDEFINED)
        return refuse_undefined(machine, of);
    TRY(jinja_machine_step(machine, 1));
    TRY(find_attribute(machine, out, of, name));
    if (out->kind != JINJA_UNDEFINED || of.kind != JINJA_DICT)
        return STATUS_OK;
    return find_entry(machine, out, of.dict, jinja_value_string(name));
}

/* The bytes before character `index`, or of all where there are fewer. */
static size_t character_offset(const char *text, size_t bytes, int64_t index)
{
    size_t offset = 0;
    for (; index > 0 && offset < bytes; index--) {
        offset++;
        while (offset < bytes && ((unsigned char)text[offset] & 0xC0) == 0x80)
            offset++;
    }
    return offset;
}

static enum status index_string(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_string *string, int64_t index)
{
    const struct jinja_string *slice;
    const char *text;
    TRY(jinja_machine_step_bytes(machine, string->bytes));
    TRY(jinja_machine_step_slice(machine, string));
    const int64_t length = (int64_t)jinja_string_length(string);
    if (index < -length || index >= length)
        return STATUS_OK;
    TRY(jinja_string_flat(machine->arena, &text, string));
    const size_t first = character_offset(text, string->bytes, index < 0 ? index + length : index);
    const size_t end = first + character_offset(text + first, string->bytes - first, 1);
    TRY(jinja_string_slice(machine->arena, &slice, string, first, end));
    *out = jinja_value_string(slice);
    return STATUS_OK;
}

static bool has_index(struct jinja_value of)
{
    return of.kind == JINJA_LIST || of.kind == JINJA_TUPLE || of.kind == JINJA_RANGE;
}

enum status jinja_access_item(struct jinja_machine *machine, struct jinja_value *out,
                              struct jinja_value of, struct jinja_value index)
{
    struct jinja_value *found;
    bool is_key = false;
    if (of.kind == JINJA_UNDEFINED)
        return refuse_undefined(machine, of);
    TRY(jinja_machine_step(machine, 1));
    *out = jinja_machine_undefined(index.kind == JINJA_STRING ? index.string : NULL);
    if (of.kind == JINJA_DICT)
        TRY(jinja_compare_is_hashable(machine, &is_key, index));
    if (is_key) {
        TRY(jinja_compare_find(machine, &found, of.dict, index));
        if (found) {
            *out = *found;
            return STATUS_OK;
        }
    }
    if (index.kind == JINJA_STRING)
        return find_attribute(machine, out, of, index.string);
    if (index.kind != JINJA_INT && index.kind != JINJA_BOOL)
        return STATUS_OK;
    const int64_t at = index.kind == JINJA_BOOL ? index.truth : index.integer;
    if (of.kind == JINJA_STRING)
        return index_string(machine, out, of.string, at);
    if (!has_index(of))
        return STATUS_OK;
    const int64_t count = (int64_t)of.list->count;
    if (at >= -count && at < count)
        *out = of.list->items[at < 0 ? at + count : at];
    return STATUS_OK;
}

/* Which items of `count` a slice takes, as Python counts them: from `first` on by `step`, as long
 * as they are before `end`. */
struct range {
    int64_t first;
    int64_t end;
    int64_t step;
};

static enum status read_bound(struct jinja_machine *machine, int64_t *bound,
                              struct jinja_value value, int64_t otherwise)
{
    *bound = otherwise;
    if (value.kind == JINJA_ABSENT || value.kind == JINJA_NONE)
        return STATUS_OK;
    if (value.kind != JINJA_INT && value.kind != JINJA_BOOL)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "the bounds of a slice are whole numbers, not %s",
                                  jinja_value_type(value));
    *bound = value.kind == JINJA_BOOL ? value.truth : value.integer;
    return STATUS_OK;
}

static int64_t clamp(int64_t bound, int64_t count, int64_t least, int64_t most)
{
    if (bound < 0)
        bound = bound < -count ? -1 : bound + count;
    return bound < least ? least : bound > most ? most : bound;
}

static enum status read_range(struct jinja_machine *machine, struct range *range,
                              const struct jinja_value bounds[3], int64_t count)
{
    TRY(read_bound(machine, &range->step, bounds[2], 1));
    if (range->step == 0)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "a slice with step 0");
    const bool is_backwards = range->step < 0;
    const int64_t least = is_backwards ? -1 : 0, most = is_backwards ? count - 1 : count;
    TRY(read_bound(machine, &range->first, bounds[0], is_backwards ? count : 0));
    const bool has_end = bounds[1].kind != JINJA_ABSENT && bounds[1].kind != JINJA_NONE;
    TRY(read_bound(machine, &range->end, bounds[1], count));
    range->first = clamp(range->first, count, least, most);
    range->end = !has_end && is_backwards ? -1 : clamp(range->end, count, least, most);
    return STATUS_OK;
}

static bool is_within(const struct range *range, int64_t at)
{
    return range->step > 0 ? at < range->end : at > range->end;
}

static enum status slice_string(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_string *string, const struct range *range)
{
    struct jinja_text result = {.arena = machine->arena};
    const struct jinja_string *slice;
    const char *text;
    TRY(jinja_string_flat(machine->arena, &text, string));
    TRY(jinja_machine_step_slice(machine, string));
    if (range->step == 1) {
        const size_t first = character_offset(text, string->bytes, range->first);
        const int64_t length = range->end > range->first ? range->end - range->first : 0;
        const size_t end = first + character_offset(text + first, string->bytes - first, length);
        TRY(jinja_text_add_slice(&result, string, first, end));
    }
    for (int64_t at = range->first; range->step != 1 && is_within(range, at);) {
        const size_t first = character_offset(text, string->bytes, at);
        TRY(jinja_machine_step_bytes(machine, first * 8));
        TRY(jinja_machine_step_slice(machine, string));
        TRY(jinja_text_add_slice(&result, string, first,
                                 first + character_offset(text + first, string->bytes - first, 1)));
        if (__builtin_add_overflow(at, range->step, &at))
            break;
    }
    TRY(jinja_text_string(&result, &slice));
    *out = jinja_value_string(slice);
    return STATUS_OK;
}

static enum status slice_list(struct jinja_machine *machine, struct jinja_value *out,
                              struct jinja_value of, const struct range *range)
{
    struct jinja_list *list;
    TRY(jinja_list_make(&list, machine->arena));
    for (int64_t at = range->first; is_within(range, at);) {
        TRY(jinja_machine_step(machine, 1));
        TRY(jinja_list_add(list, of.list->items[at]));
        if (__builtin_add_overflow(at, range->step, &at))
            break;
    }
    *out = jinja_value_list(of.kind, list);
    return STATUS_OK;
}

enum status jinja_access_slice(struct jinja_machine *machine, struct jinja_value *out,
                               struct jinja_value of, const struct jinja_value bounds[3])
{
    struct range range;
    if (of.kind == JINJA_UNDEFINED)
        return refuse_undefined(machine, of);
    if (of.kind == JINJA_STRING) {
        TRY(jinja_machine_step_bytes(machine, of.string->bytes));
        TRY(read_range(machine, &range, bounds, (int64_t)jinja_string_length(of.string)));
        return slice_string(machine, out, of.string, &range);
    }
    if (!has_index(of))
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "a value of type %s has no slices", jinja_value_type(of));
    TRY(read_range(machine, &range, bounds, (int64_t)of.list->count));
    return slice_list(machine, out, of, &range);
}

/* The rest of an iterator, which is at its end then. */
static enum status use_up(struct jinja_list **list, struct jinja_list *iterator)
{
    TRY(jinja_list_make(list, iterator->arena));
    for (; iterator->next < iterator->count; iterator->next++)
        TRY(jinja_list_add(*list, iterator->items[iterator->next]));
    return STATUS_OK;
}

static enum status walk_string(struct jinja_machine *machine, struct jinja_list *list,
                               const struct jinja_string *string)
{
    const char *text;
    TRY(jinja_string_flat(machine->arena, &text, string));
    for (size_t place = 0, end; place < string->bytes; place = end) {
        const struct jinja_string *one;
        end = place + character_offset(text + place, string->bytes - place, 1);
        TRY(jinja_machine_step(machine, 1 + string->count));
        TRY(jinja_string_slice(machine->arena, &one, string, place, end));
        TRY(jinja_list_add(list, jinja_value_string(one)));
    }
    return STATUS_OK;
}

enum status jinja_access_walk(struct jinja_machine *machine, struct jinja_list **list,
                              struct jinja_value of)
{
    if (of.kind == JINJA_ITERATOR)
        return use_up(list, of.list);
    if (jinja_value_is_list(of)) {
        *list = of.list;
        return STATUS_OK;
    }
    if (of.kind != JINJA_UNDEFINED && of.kind != JINJA_DICT && of.kind != JINJA_STRING)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "a value of type %s cannot be walked", jinja_value_type(of));
    TRY(jinja_list_make(list, machine->arena));
    if (of.kind == JINJA_STRING)
        return walk_string(machine, *list, of.string);
    for (size_t i = 0; of.kind == JINJA_DICT && i < of.dict->count; i++)
        TRY(jinja_list_add(*list, of.dict->entries[i].key));
    return jinja_machine_step(machine, (*list)->count);
}
