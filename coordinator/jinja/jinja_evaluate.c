/* Owns the evaluation of expressions. Promises to go no deeper than the machine's limit. */
#include "coordinator/jinja/jinja_evaluate.h"

#include "coordinator/jinja/jinja_access.h"
#include "coordinator/jinja/jinja_call.h"
#include "coordinator/jinja/jinja_compare.h"
#include "coordinator/jinja/jinja_filters.h"
#include "coordinator/jinja/jinja_globals.h"
#include "coordinator/jinja/jinja_operators.h"
#include "coordinator/jinja/jinja_show.h"
#include "coordinator/jinja/jinja_tests.h"

static enum status evaluate_list(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_node *node)
{
    struct jinja_list *list;
    TRY(jinja_list_make(&list, machine->arena));
    for (size_t i = 0; i < node->items.count; i++) {
        struct jinja_value item;
        TRY(jinja_evaluate(machine, &item, node->items.items[i]));
        TRY(jinja_list_add(list, item));
    }
    *out = jinja_value_list(node->kind == JINJA_NODE_LIST ? JINJA_LIST : JINJA_TUPLE, list);
    return STATUS_OK;
}

static enum status evaluate_dict(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_node *node)
{
    struct jinja_dict *dict;
    TRY(jinja_dict_make(&dict, machine->arena));
    for (size_t i = 0; i < node->items.count; i += 2) {
        struct jinja_value key, value;
        bool is_key;
        TRY(jinja_evaluate(machine, &key, node->items.items[i]));
        TRY(jinja_evaluate(machine, &value, node->items.items[i + 1]));
        TRY(jinja_compare_is_hashable(machine, &is_key, key));
        if (!is_key)
            return jinja_machine_fail(machine, STATUS_INVALID_ARGUMENT,
                                      "a value of type %s is no key of a dict",
                                      jinja_value_type(key));
        TRY(jinja_machine_step(machine, 1));
        TRY(jinja_compare_put(machine, dict, key, value));
    }
    *out = (struct jinja_value){.kind = JINJA_DICT, .dict = dict};
    return STATUS_OK;
}

static enum status evaluate_concat(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_node *node)
{
    struct jinja_text text = {.arena = machine->arena};
    const struct jinja_string *string;
    for (size_t i = 0; i < node->items.count; i++) {
        struct jinja_value value;
        TRY(jinja_evaluate(machine, &value, node->items.items[i]));
        TRY(jinja_show_string(machine, &string, value));
        TRY(jinja_machine_step(machine, 1 + string->count / 8));
        TRY(jinja_text_add_string(&text, string));
    }
    TRY(jinja_text_string(&text, &string));
    *out = jinja_value_string(string);
    return STATUS_OK;
}

static enum status evaluate_compare(struct jinja_machine *machine, struct jinja_value *out,
                                    const struct jinja_node *node)
{
    struct jinja_value left, right;
    TRY(jinja_evaluate(machine, &left, node->a));
    for (size_t i = 0; i < node->items.count; i++) {
        TRY(jinja_evaluate(machine, &right, node->items.items[i]->b));
        machine->node = node;
        TRY(jinja_operators_apply(machine, out, node->items.items[i]->operation, left, right));
        if (!out->truth)
            return STATUS_OK;
        left = right;
    }
    return STATUS_OK;
}

static enum status evaluate_item(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_node *node)
{
    struct jinja_value of, index, bounds[3] = {{.kind = JINJA_ABSENT}};
    TRY(jinja_evaluate(machine, &of, node->a));
    if (node->b->kind != JINJA_NODE_SLICE) {
        TRY(jinja_evaluate(machine, &index, node->b));
        machine->node = node;
        return jinja_access_item(machine, out, of, index);
    }
    const struct jinja_node *parts[] = {node->b->a, node->b->b, node->b->c};
    for (int i = 0; i < 3; i++)
        if (parts[i])
            TRY(jinja_evaluate(machine, &bounds[i], parts[i]));
    machine->node = node;
    return jinja_access_slice(machine, out, of, bounds);
}

/* The items of "*list" as arguments. */
static enum status spread(struct jinja_machine *machine, struct jinja_list *values,
                          const struct jinja_node *node)
{
    struct jinja_value value;
    struct jinja_list *list;
    TRY(jinja_evaluate(machine, &value, node->a));
    TRY(jinja_access_walk(machine, &list, value));
    for (size_t i = 0; i < list->count; i++)
        TRY(jinja_list_add(values, list->items[i]));
    return jinja_machine_step(machine, list->count);
}

static enum status evaluate_arguments(struct jinja_machine *machine, struct jinja_args *args,
                                      const struct jinja_nodes *nodes,
                                      const struct jinja_named_argument *more)
{
    const size_t count = nodes->count + (more != NULL);
    struct jinja_list values = {.arena = machine->arena};
    *args = (struct jinja_args){
        .named = jinja_arena_take(machine->arena, count * sizeof *args->named),
    };
    if (!args->named)
        return jinja_machine_fail(machine, STATUS_OUT_OF_RANGE,
                                  "the template needs more memory than it may take");
    for (size_t i = 0; i < nodes->count; i++) {
        const struct jinja_node *node = nodes->items[i];
        struct jinja_value value;
        if (node->kind == JINJA_NODE_SPREAD) {
            TRY(spread(machine, &values, node));
            continue;
        }
        TRY(jinja_evaluate(machine, &value, node->kind == JINJA_NODE_KEYWORD ? node->a : node));
        if (node->kind == JINJA_NODE_KEYWORD)
            args->named[args->named_count++] = (struct jinja_named_argument){node->name, value};
        else
            TRY(jinja_list_add(&values, value));
    }
    if (more)
        args->named[args->named_count++] = *more;
    args->values = values.items;
    args->count = values.count;
    return STATUS_OK;
}

enum status jinja_evaluate_call(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_node *node,
                                const struct jinja_named_argument *more)
{
    struct jinja_value callee;
    struct jinja_args args;
    TRY(jinja_evaluate(machine, &callee, node->a));
    TRY(evaluate_arguments(machine, &args, &node->items, more));
    machine->node = node;
    return jinja_call_value(machine, out, callee, &args);
}

static enum status apply_filter(struct jinja_machine *machine, struct jinja_value *out,
                                const struct jinja_node *node, struct jinja_value in)
{
    struct jinja_args args;
    const struct jinja_function_row *row = jinja_filters_find(node->name->text);
    TRY(evaluate_arguments(machine, &args, &node->items, NULL));
    machine->node = node;
    if (!row)
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED, "the filter %s is not supported",
                                  node->name->text);
    return jinja_call_row(machine, out, "filter", row, in, &args);
}

enum status jinja_evaluate_filters(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_node *node, struct jinja_value in)
{
    if (node->a) {
        struct jinja_value before;
        TRY(jinja_evaluate_filters(machine, &before, node->a, in));
        in = before;
    }
    return apply_filter(machine, out, node, in);
}

static enum status evaluate_filter(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_node *node)
{
    struct jinja_value in;
    TRY(jinja_evaluate(machine, &in, node->a));
    return apply_filter(machine, out, node, in);
}

static enum status evaluate_test(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_node *node)
{
    struct jinja_value in;
    struct jinja_args args;
    const struct jinja_function_row *row = jinja_tests_find(node->name->text);
    TRY(jinja_evaluate(machine, &in, node->a));
    TRY(evaluate_arguments(machine, &args, &node->items, NULL));
    machine->node = node;
    if (!row)
        return jinja_machine_fail(machine, STATUS_UNIMPLEMENTED, "the test %s is not supported",
                                  node->name->text);
    return jinja_call_row(machine, out, "test", row, in, &args);
}

static enum status evaluate_name(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_node *node)
{
    TRY(jinja_machine_find(machine, out, node->name));
    if (out->kind == JINJA_UNDEFINED) {
        const struct jinja_function_row *row = jinja_globals_find(node->name->text);
        if (row)
            *out = (struct jinja_value){.kind = JINJA_FUNCTION, .function = row};
    }
    return STATUS_OK;
}

static enum status evaluate_condition(struct jinja_machine *machine, struct jinja_value *out,
                                      const struct jinja_node *node)
{
    struct jinja_value condition;
    TRY(jinja_evaluate(machine, &condition, node->c));
    if (jinja_value_is_true(condition))
        return jinja_evaluate(machine, out, node->a);
    if (node->b)
        return jinja_evaluate(machine, out, node->b);
    *out = jinja_machine_undefined(NULL);
    return STATUS_OK;
}

/* Those whose operands are one or two values. */
static enum status evaluate_operands(struct jinja_machine *machine, struct jinja_value *out,
                                     const struct jinja_node *node)
{
    struct jinja_value a, b;
    TRY(jinja_evaluate(machine, &a, node->a));
    switch (node->kind) {
    case JINJA_NODE_AND:
    case JINJA_NODE_OR:
        *out = a;
        return jinja_value_is_true(a) == (node->kind == JINJA_NODE_AND)
                   ? jinja_evaluate(machine, out, node->b)
                   : STATUS_OK;
    case JINJA_NODE_NOT:
        *out = jinja_value_bool(!jinja_value_is_true(a));
        return STATUS_OK;
    case JINJA_NODE_ATTRIBUTE:
        machine->node = node;
        return jinja_access_attribute(machine, out, a, node->name->string);
    case JINJA_NODE_MINUS:
        machine->node = node;
        return jinja_operators_negate(machine, out, a);
    case JINJA_NODE_PLUS:
        machine->node = node;
        return jinja_operators_apply(machine, out, JINJA_ADD, jinja_value_int(0), a);
    default:
        TRY(jinja_evaluate(machine, &b, node->b));
        machine->node = node;
        return jinja_operators_apply(machine, out, node->operation, a, b);
    }
}

static enum status evaluate_kind(struct jinja_machine *machine, struct jinja_value *out,
                                 const struct jinja_node *node)
{
    switch (node->kind) {
    case JINJA_NODE_CONST:
        *out = node->value;
        return STATUS_OK;
    case JINJA_NODE_NAME:
        return evaluate_name(machine, out, node);
    case JINJA_NODE_LIST:
    case JINJA_NODE_TUPLE:
        return evaluate_list(machine, out, node);
    case JINJA_NODE_DICT:
        return evaluate_dict(machine, out, node);
    case JINJA_NODE_CONCAT:
        return evaluate_concat(machine, out, node);
    case JINJA_NODE_COMPARE:
        return evaluate_compare(machine, out, node);
    case JINJA_NODE_CONDITION:
        return evaluate_condition(machine, out, node);
    case JINJA_NODE_ITEM:
        return evaluate_item(machine, out, node);
    case JINJA_NODE_CALL:
        return jinja_evaluate_call(machine, out, node, NULL);
    case JINJA_NODE_FILTER:
        return evaluate_filter(machine, out, node);
    case JINJA_NODE_TEST:
        return evaluate_test(machine, out, node);
    default:
        return evaluate_operands(machine, out, node);
    }
}

enum status jinja_evaluate(struct jinja_machine *machine, struct jinja_value *out,
                           const struct jinja_node *node)
{
    machine->node = node;
    TRY(jinja_machine_enter(machine));
    TRY(evaluate_kind(machine, out, node));
    jinja_machine_leave(machine);
    return STATUS_OK;
}
