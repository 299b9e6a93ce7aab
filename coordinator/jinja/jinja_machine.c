/* Owns limits and scopes of a rendering. */
#include "coordinator/jinja/jinja_machine.h"

#include <stdarg.h>
#include <stdio.h>

enum { MESSAGE_BYTES = 400, BYTES_A_STEP = 64, ITEMS_A_STEP = 8 };

enum status jinja_machine_fail(const struct jinja_machine *machine, enum status status,
                               const char *format, ...)
{
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    if (!machine->node)
        return fail(status, "chat template: %s", message);
    return fail(status, "chat template, line %d, column %d: %s", machine->node->line,
                machine->node->column, message);
}

enum status jinja_machine_step(struct jinja_machine *machine, size_t steps)
{
    if ((uint64_t)steps > (uint64_t)machine->steps_left)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template does not end within its limit of steps");
    machine->steps_left -= (int64_t)steps;
    return STATUS_OK;
}

enum status jinja_machine_step_bytes(struct jinja_machine *machine, size_t bytes)
{
    return jinja_machine_step(machine, 1 + bytes / BYTES_A_STEP);
}

enum status jinja_machine_step_slice(struct jinja_machine *machine,
                                     const struct jinja_string *string)
{
    return jinja_machine_step(machine, 1 + string->count / ITEMS_A_STEP);
}

enum status jinja_machine_enter(struct jinja_machine *machine)
{
    if (machine->depth == JINJA_MACHINE_DEPTH_MAX)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "more than %d calls and values in each other",
                                  JINJA_MACHINE_DEPTH_MAX);
    machine->depth++;
    return jinja_machine_step(machine, 1);
}

void jinja_machine_leave(struct jinja_machine *machine)
{
    machine->depth--;
}

static enum status no_room(const struct jinja_machine *machine)
{
    return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                              "the template needs more memory than it may take");
}

enum status jinja_machine_open_scope(struct jinja_machine *machine, struct jinja_scope *parent)
{
    struct jinja_scope *scope = jinja_arena_take(machine->arena, sizeof *scope);
    if (!scope)
        return no_room(machine);
    *scope = (struct jinja_scope){.parent = parent};
    machine->scope = scope;
    return STATUS_OK;
}

/* NULL where the scope does not have it. `seen` counts the bindings that were looked at. */
static struct jinja_binding *find_binding(const struct jinja_scope *scope,
                                          const struct jinja_name *name, size_t *seen)
{
    struct jinja_binding *there = scope->bindings;
    for (; there && there->name != name; there = there->next)
        ++*seen;
    return there;
}

enum status jinja_machine_put(struct jinja_machine *machine, const struct jinja_name *name,
                              struct jinja_value value)
{
    size_t seen = 0;
    struct jinja_binding *there = find_binding(machine->scope, name, &seen);
    TRY(jinja_machine_step(machine, seen / ITEMS_A_STEP));
    if (there) {
        there->value = value;
        return STATUS_OK;
    }
    struct jinja_binding *binding = jinja_arena_take(machine->arena, sizeof *binding);
    if (!binding)
        return no_room(machine);
    *binding = (struct jinja_binding){name, value, machine->scope->bindings};
    machine->scope->bindings = binding;
    return STATUS_OK;
}

enum status jinja_machine_find(struct jinja_machine *machine, struct jinja_value *value,
                               const struct jinja_name *name)
{
    const struct jinja_binding *there = NULL;
    size_t seen = 0;
    for (const struct jinja_scope *scope = machine->scope; scope && !there; scope = scope->parent) {
        there = find_binding(scope, name, &seen);
        seen++;
    }
    *value = there ? there->value : jinja_machine_undefined(name->string);
    return jinja_machine_step(machine, seen / ITEMS_A_STEP);
}

struct jinja_value jinja_machine_undefined(const struct jinja_string *name)
{
    return (struct jinja_value){.kind = JINJA_UNDEFINED, .string = name};
}
