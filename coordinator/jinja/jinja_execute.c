/* Owns statements. Promises that a scope that was opened is left again, but for failures, after
 * which nothing runs. */
#include "coordinator/jinja/jinja_execute.h"

#include "coordinator/jinja/jinja_access.h"
#include "coordinator/jinja/jinja_call.h"
#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_evaluate.h"
#include "coordinator/jinja/jinja_show.h"

static enum status assign_member(struct jinja_machine *machine, const struct jinja_node *target,
                                 struct jinja_value value)
{
    struct jinja_value of;
    TRY(jinja_evaluate(machine, &of, target->a));
    machine->node = target;
    if (of.kind != JINJA_NAMESPACE)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                  "only a namespace has members that can be set, not a value of "
                                  "type %s",
                                  jinja_value_type(of));
    TRY(jinja_machine_step(machine, 1));
    return jinja_compare_put(machine, of.dict, jinja_value_string(target->name->string), value);
}

static enum status assign(struct jinja_machine *machine, const struct jinja_node *target,
                          struct jinja_value value)
{
    struct jinja_list *list;
    if (target->kind == JINJA_NODE_NAME)
        return jinja_machine_put(machine, target->name, value);
    if (target->kind == JINJA_NODE_ATTRIBUTE)
        return assign_member(machine, target, value);
    machine->node = target;
    if (target->kind != JINJA_NODE_TUPLE)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "nothing can be set here");
    TRY(jinja_access_walk(machine, &list, value));
    if (list->count != target->items.count)
        return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT, "%zu values for %zu variables",
                                  list->count, target->items.count);
    for (size_t i = 0; i < list->count; i++)
        TRY(assign(machine, target->items.items[i], list->items[i]));
    return STATUS_OK;
}

/* The items for which the condition holds, each with the loop's variables set to it. */
static enum status select_items(struct jinja_machine *machine, struct jinja_list **selected,
                                const struct jinja_node *node, const struct jinja_list *list)
{
    struct jinja_scope *around = machine->scope;
    TRY(jinja_list_make(selected, machine->arena));
    for (size_t i = 0; i < list->count; i++) {
        struct jinja_value holds;
        TRY(jinja_machine_open_scope(machine, around));
        TRY(assign(machine, node->a, list->items[i]));
        TRY(jinja_evaluate(machine, &holds, node->c));
        if (jinja_value_is_true(holds))
            TRY(jinja_list_add(*selected, list->items[i]));
    }
    machine->scope = around;
    return STATUS_OK;
}

static enum status run_turns(struct jinja_machine *machine, const struct jinja_node *node,
                             const struct jinja_list *list)
{
    struct jinja_scope *around = machine->scope;
    struct jinja_loop *loop = jinja_arena_take(machine->arena, sizeof *loop);
    if (!loop)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    *loop = (struct jinja_loop){.list = list};
    const struct jinja_value shown = {.kind = JINJA_LOOP, .loop = loop};
    for (; loop->index < list->count && machine->jump != JINJA_JUMP_BREAK; loop->index++) {
        TRY(jinja_machine_open_scope(machine, around));
        TRY(jinja_machine_put(machine, machine->words->loop, shown));
        TRY(assign(machine, node->a, list->items[loop->index]));
        machine->jump = JINJA_JUMP_NONE;
        TRY(jinja_execute(machine, &node->items));
    }
    machine->jump = JINJA_JUMP_NONE;
    machine->scope = around;
    return STATUS_OK;
}

/* Statements with a scope of their own. */
static enum status execute_inside(struct jinja_machine *machine, const struct jinja_nodes *nodes)
{
    struct jinja_scope *around = machine->scope;
    TRY(jinja_machine_open_scope(machine, around));
    TRY(jinja_execute(machine, nodes));
    machine->scope = around;
    return STATUS_OK;
}

static enum status execute_for(struct jinja_machine *machine, const struct jinja_node *node)
{
    struct jinja_value walked;
    struct jinja_list *list;
    TRY(jinja_evaluate(machine, &walked, node->b));
    machine->node = node;
    TRY(jinja_access_walk(machine, &list, walked));
    if (node->c)
        TRY(select_items(machine, &list, node, list));
    return list->count > 0 ? run_turns(machine, node, list)
                           : execute_inside(machine, &node->others);
}

static enum status execute_if(struct jinja_machine *machine, const struct jinja_node *node)
{
    for (size_t i = 0; i < node->items.count; i++) {
        struct jinja_value holds;
        TRY(jinja_evaluate(machine, &holds, node->items.items[i]->a));
        if (jinja_value_is_true(holds))
            return jinja_execute(machine, &node->items.items[i]->items);
    }
    return jinja_execute(machine, &node->others);
}

/* What a block writes, through its filters where it has some. */
static enum status capture(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_node *filters, const struct jinja_nodes *body)
{
    struct jinja_text text = {.arena = machine->arena};
    const struct jinja_string *string;
    struct jinja_scope *around = machine->scope;
    TRY(jinja_machine_open_scope(machine, around));
    TRY(jinja_execute_into(machine, &text, body));
    machine->scope = around;
    TRY(jinja_text_string(&text, &string));
    *out = jinja_value_string(string);
    return filters ? jinja_evaluate_filters(machine, out, filters, *out) : STATUS_OK;
}

static enum status write_value(struct jinja_machine *machine, struct jinja_value value)
{
    const struct jinja_string *string;
    TRY(jinja_show_string(machine, &string, value));
    TRY(jinja_machine_step(machine, 1 + string->count / 8));
    return jinja_text_add_string(machine->out, string);
}

static enum status make_macro(struct jinja_machine *machine, struct jinja_value *out,
                              const struct jinja_node *node)
{
    struct jinja_macro *macro = jinja_arena_take(machine->arena, sizeof *macro);
    if (!macro)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    *macro = (struct jinja_macro){node->name, &node->items, &node->others, machine->scope};
    *out = (struct jinja_value){.kind = JINJA_MACRO, .macro = macro};
    return STATUS_OK;
}

static enum status execute_call_block(struct jinja_machine *machine, const struct jinja_node *node)
{
    struct jinja_named_argument caller = {.name = machine->words->caller};
    struct jinja_value value;
    TRY(make_macro(machine, &caller.value, node));
    TRY(jinja_evaluate_call(machine, &value, node->a, &caller));
    return write_value(machine, value);
}

static enum status execute_with(struct jinja_machine *machine, const struct jinja_node *node)
{
    struct jinja_scope *around = machine->scope;
    struct jinja_list *values;
    TRY(jinja_list_make(&values, machine->arena));
    for (size_t i = 0; i < node->items.count; i++) {
        struct jinja_value value;
        TRY(jinja_evaluate(machine, &value, node->items.items[i]->b));
        TRY(jinja_list_add(values, value));
    }
    TRY(jinja_machine_open_scope(machine, around));
    for (size_t i = 0; i < node->items.count; i++)
        TRY(assign(machine, node->items.items[i]->a, values->items[i]));
    TRY(jinja_execute(machine, &node->others));
    machine->scope = around;
    return STATUS_OK;
}

static enum status execute_kind(struct jinja_machine *machine, const struct jinja_node *node)
{
    struct jinja_value value;
    switch (node->kind) {
    case JINJA_NODE_TEXT:
        return jinja_text_add_string(machine->out, node->value.string);
    case JINJA_NODE_OUTPUT:
        TRY(jinja_evaluate(machine, &value, node->a));
        return write_value(machine, value);
    case JINJA_NODE_FOR:
        return execute_for(machine, node);
    case JINJA_NODE_IF:
        return execute_if(machine, node);
    case JINJA_NODE_SET:
        TRY(jinja_evaluate(machine, &value, node->b));
        return assign(machine, node->a, value);
    case JINJA_NODE_SET_BLOCK:
        TRY(capture(machine, &value, node->b, &node->items));
        return assign(machine, node->a, value);
    case JINJA_NODE_MACRO:
        TRY(make_macro(machine, &value, node));
        return jinja_machine_put(machine, node->name, value);
    case JINJA_NODE_CALL_BLOCK:
        return execute_call_block(machine, node);
    case JINJA_NODE_FILTER_BLOCK:
        TRY(capture(machine, &value, node->b, &node->items));
        return write_value(machine, value);
    case JINJA_NODE_WITH:
        return execute_with(machine, node);
    case JINJA_NODE_GENERATION:
        return execute_inside(machine, &node->items);
    case JINJA_NODE_BREAK:
        machine->jump = JINJA_JUMP_BREAK;
        return STATUS_OK;
    default:
        machine->jump = JINJA_JUMP_CONTINUE;
        return STATUS_OK;
    }
}

enum status jinja_execute(struct jinja_machine *machine, const struct jinja_nodes *nodes)
{
    for (size_t i = 0; i < nodes->count && machine->jump == JINJA_JUMP_NONE; i++) {
        machine->node = nodes->items[i];
        TRY(jinja_machine_enter(machine));
        TRY(execute_kind(machine, nodes->items[i]));
        jinja_machine_leave(machine);
    }
    return STATUS_OK;
}

enum status jinja_execute_into(struct jinja_machine *machine, struct jinja_text *text,
                               const struct jinja_nodes *nodes)
{
    struct jinja_text *out = machine->out;
    machine->out = text;
    TRY(jinja_execute(machine, nodes));
    machine->out = out;
    return STATUS_OK;
}
