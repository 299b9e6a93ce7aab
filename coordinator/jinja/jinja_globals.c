/* Owns the functions of jinja2 and transformers. */
#include "coordinator/jinja/jinja_globals.h"

#include <string.h>

#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_show.h"

enum { RANGE_MAX = 100000, TEXT_BYTES_MAX = 256, FORMAT_BYTES_MAX = 128 };

static enum status whole_number(struct jinja_machine *machine, int64_t *number,
                                struct jinja_value value)
{
    if (value.kind != JINJA_INT && value.kind != JINJA_BOOL)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "range takes whole numbers, not %s", jinja_value_type(value));
    *number = value.kind == JINJA_BOOL ? value.truth : value.integer;
    return STATUS_OK;
}

static enum status range(struct jinja_machine *machine, struct jinja_value *out,
                         const struct jinja_call *call)
{
    int64_t first = 0, end = 0, step = 1;
    struct jinja_list *list;
    const bool has_end = call->argument[1].kind != JINJA_ABSENT;
    TRY(whole_number(machine, &end, call->argument[has_end]));
    if (has_end)
        TRY(whole_number(machine, &first, call->argument[0]));
    if (call->argument[2].kind != JINJA_ABSENT)
        TRY(whole_number(machine, &step, call->argument[2]));
    if (step == 0)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "range with step 0");
    TRY(jinja_list_make(&list, machine->arena));
    for (int64_t at = first; step > 0 ? at < end : at > end;) {
        if (list->count == RANGE_MAX)
            return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE, "a range of more than %d",
                                      RANGE_MAX);
        TRY(jinja_list_add(list, jinja_value_int(at)));
        if (__builtin_add_overflow(at, step, &at))
            break;
    }
    *out = jinja_value_list(JINJA_RANGE, list);
    return jinja_machine_step(machine, list->count);
}

/* A dict, or a namespace, of a dict and arguments by name. */
static enum status make(struct jinja_machine *machine, struct jinja_value *out,
                        const struct jinja_args *args, enum jinja_kind kind)
{
    struct jinja_dict *dict;
    TRY(jinja_dict_make(&dict, machine->arena));
    if (args->count > 1 || (args->count == 1 && args->values[0].kind != JINJA_DICT))
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED,
                                  "%s of something else than a dict and names is not supported",
                                  kind == JINJA_DICT ? "dict" : "namespace");
    if (args->count == 1)
        TRY(jinja_machine_step(machine, args->values[0].dict->count));
    for (size_t i = 0; args->count == 1 && i < args->values[0].dict->count; i++)
        TRY(jinja_dict_add(dict, args->values[0].dict->entries[i].key,
                           args->values[0].dict->entries[i].value));
    for (size_t i = 0; i < args->named_count; i++)
        TRY(jinja_compare_put(machine, dict, jinja_value_string(args->named[i].name->string),
                              args->named[i].value));
    *out = (struct jinja_value){.kind = kind, .dict = dict};
    return jinja_machine_step(machine, dict->count);
}

static enum status dict(struct jinja_machine *machine, struct jinja_value *out,
                        const struct jinja_call *call)
{
    return make(machine, out, call->all, JINJA_DICT);
}

static enum status namespace(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_call *call) {
    return make(machine, out, call->all, JINJA_NAMESPACE);
}

static enum status raise_exception(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_call *call)
{
    const struct jinja_string *string;
    const char *text;
    (void)out;
    TRY(jinja_show_string(machine, &string, call->argument[0]));
    TRY(jinja_string_flat(machine->arena, &text, string));
    return jinja_machine_fail(
        machine, STATUS_INVALID_ARGUMENT, "the template refuses the conversation: %.*s",
        (int)(string->bytes < TEXT_BYTES_MAX ? string->bytes : TEXT_BYTES_MAX), text);
}

static enum status strftime_now(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_call *call)
{
    char format[FORMAT_BYTES_MAX], text[TEXT_BYTES_MAX];
    const struct jinja_value given = call->argument[0];
    const char *flat;
    if (given.kind != JINJA_STRING || given.string->bytes >= sizeof format)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "strftime_now takes a text of at most %d bytes",
                                  FORMAT_BYTES_MAX - 1);
    TRY(jinja_string_flat(machine->arena, &flat, given.string));
    memcpy(format, flat, given.string->bytes);
    format[given.string->bytes] = 0;
    const size_t bytes = strftime(text, sizeof text, format, machine->now);
    struct jinja_text shown = {.arena = machine->arena};
    const struct jinja_string *string;
    TRY(jinja_text_copy(&shown, text, bytes));
    TRY(jinja_text_string(&shown, &string));
    *out = jinja_value_string(string);
    return STATUS_OK;
}

static const struct jinja_function_row rows[] = {
    {"range", "first! end step", range},
    {"dict", "*", dict},
    {"namespace", "*", namespace},
    {"raise_exception", "message!", raise_exception},
    {"strftime_now", "format!", strftime_now},
    {"cycler", "", NULL},
    {"joiner", "", NULL},
    {"lipsum", "", NULL},
    {NULL, NULL, NULL},
};

const struct jinja_function_row *jinja_globals_find(const char *name)
{
    return jinja_call_find(rows, name);
}
