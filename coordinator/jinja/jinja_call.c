/* Owns the binding of arguments to parameters. */
#include "coordinator/jinja/jinja_call.h"

#include <string.h>

#include "coordinator/jinja/jinja_execute.h"
#include "coordinator/jinja/jinja_evaluate.h"

const struct jinja_function_row *jinja_call_find(const struct jinja_function_row *rows,
                                                 const char *name)
{
    for (; rows->name; rows++)
        if (strcmp(rows->name, name) == 0)
            return rows;
    return NULL;
}

/* The next of the names at *parameters, which moves behind it; 0 where there is none. */
static size_t next_parameter(const char **parameters, const char **name, bool *is_required)
{
    *parameters += strspn(*parameters, " ");
    const size_t bytes = strcspn(*parameters, " !");
    *name = *parameters;
    *is_required = (*parameters)[bytes] == '!';
    *parameters += bytes + *is_required;
    return bytes;
}

static const struct jinja_named_argument *find_named(const struct jinja_args *args,
                                                     const char *name, size_t bytes)
{
    for (size_t i = 0; i < args->named_count; i++)
        if (args->named[i].name->bytes == bytes &&
            memcmp(args->named[i].name->text, name, bytes) == 0)
            return &args->named[i];
    return NULL;
}

static enum status bind(struct jinja_machine *machine, struct jinja_call *call, const char *what,
                        const struct jinja_function_row *row)
{
    const struct jinja_args *args = call->all;
    const char *parameters = row->parameters, *name;
    size_t count = 0, named = 0, bytes;
    bool is_required;
    while ((bytes = next_parameter(&parameters, &name, &is_required)) > 0) {
        const struct jinja_named_argument *by_name = find_named(args, name, bytes);
        if (by_name && count < args->count)
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                      "%s %s: %.*s is given twice", what, row->name, (int)bytes,
                                      name);
        if (count < args->count)
            call->argument[count] = args->values[count];
        else if (by_name)
            call->argument[count] = by_name->value;
        else if (is_required)
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "%s %s: %.*s is missing",
                                      what, row->name, (int)bytes, name);
        named += by_name != NULL;
        count++;
    }
    if (args->count > count || args->named_count > named)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "%s %s: an argument that it does not take", what, row->name);
    return STATUS_OK;
}

enum status jinja_call_row(struct jinja_machine *machine, struct jinja_value *out, const char *what,
                           const struct jinja_function_row *row, struct jinja_value in,
                           const struct jinja_args *args)
{
    struct jinja_call call = {.in = in, .all = args};
    TRY(jinja_machine_step(machine, args->named_count));
    if (!row->run)
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED, "the %s %s is not supported", what,
                                  row->name);
    if (strcmp(row->parameters, "*") != 0)
        TRY(bind(machine, &call, what, row));
    TRY(jinja_machine_enter(machine)); /* map calls filters, and is one */
    TRY(row->run(machine, out, &call));
    jinja_machine_leave(machine);
    return STATUS_OK;
}

static const struct jinja_named_argument *find_name(const struct jinja_args *args,
                                                    const struct jinja_name *name)
{
    for (size_t i = 0; i < args->named_count; i++)
        if (args->named[i].name == name)
            return &args->named[i];
    return NULL;
}

/* What jinja2 puts into a macro's kwargs is refused, but for the caller. */
static enum status check_known(struct jinja_machine *machine, const struct jinja_macro *macro,
                               const struct jinja_args *args)
{
    for (size_t i = 0; i < args->named_count; i++) {
        bool is_known = args->named[i].name == machine->words->caller;
        for (size_t p = 0; p < macro->parameters->count; p++)
            is_known |= macro->parameters->items[p]->name == args->named[i].name;
        if (!is_known)
            return jinja_machine_fail(
                machine, STATUS_INVALID_ARGUMENT, "macro %s has no parameter %s",
                macro->name ? macro->name->text : "caller", args->named[i].name->text);
    }
    return STATUS_OK;
}

static enum status put_parameters(struct jinja_machine *machine, const struct jinja_macro *macro,
                                  const struct jinja_args *args)
{
    for (size_t i = 0; i < macro->parameters->count; i++) {
        const struct jinja_node *parameter = macro->parameters->items[i];
        const struct jinja_named_argument *named = find_name(args, parameter->name);
        struct jinja_value value = jinja_machine_undefined(parameter->name->string);
        if (i < args->count && named)
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "%s is given twice",
                                      parameter->name->text);
        if (i < args->count)
            value = args->values[i];
        else if (named)
            value = named->value;
        else if (parameter->kind == JINJA_NODE_KEYWORD)
            TRY(jinja_evaluate(machine, &value, parameter->a));
        TRY(jinja_machine_put(machine, parameter->name, value));
    }
    return STATUS_OK;
}

static enum status run_macro(struct jinja_machine *machine, struct jinja_value *out,
                             const struct jinja_macro *macro, const struct jinja_args *args)
{
    const struct jinja_named_argument *caller = find_name(args, machine->words->caller);
    struct jinja_text text = {.arena = machine->arena};
    const struct jinja_string *string;
    TRY(jinja_machine_step(machine, args->named_count * macro->parameters->count / 8));
    TRY(check_known(machine, macro, args));
    if (args->count > macro->parameters->count)
        return jinja_machine_fail(
            machine, STATUS_INVALID_ARGUMENT, "macro %s takes %zu arguments and gets %zu",
            macro->name ? macro->name->text : "caller", macro->parameters->count, args->count);
    TRY(jinja_machine_open_scope(machine, macro->scope));
    TRY(put_parameters(machine, macro, args));
    if (caller)
        TRY(jinja_machine_put(machine, caller->name, caller->value));
    TRY(jinja_execute_into(machine, &text, macro->body));
    TRY(jinja_text_string(&text, &string));
    *out = jinja_value_string(string);
    return STATUS_OK;
}

static enum status call_macro(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_macro *macro, const struct jinja_args *args)
{
    struct jinja_scope *scope = machine->scope;
    const struct jinja_node *node = machine->node;
    TRY(jinja_machine_enter(machine));
    TRY(run_macro(machine, out, macro, args));
    jinja_machine_leave(machine);
    machine->scope = scope;
    machine->node = node;
    return STATUS_OK;
}

enum status jinja_call_value(struct jinja_machine *machine, struct jinja_value *out,
                             struct jinja_value callee, const struct jinja_args *args)
{
    const char *name = "";
    switch (callee.kind) {
    case JINJA_MACRO:
        return call_macro(machine, out, callee.macro, args);
    case JINJA_METHOD:
        return jinja_call_row(machine, out, "method", callee.method->row, callee.method->of, args);
    case JINJA_FUNCTION:
        return jinja_call_row(machine, out, "function", callee.function,
                              (struct jinja_value){.kind = JINJA_ABSENT}, args);
    case JINJA_UNDEFINED:
        if (callee.string)
            TRY(jinja_string_flat(machine->arena, &name, callee.string));
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "'%.*s' is undefined",
                                  callee.string ? (int)callee.string->bytes : 0, name);
    default:
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "a value of type %s is called",
                                  jinja_value_type(callee));
    }
}
