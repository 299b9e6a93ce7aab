/* Owns what comparing costs a rendering. */
#include "coordinator/jinja/jinja_compare.h"

/* A comparison that used up the last step broke off, and what it gave means nothing. */
static enum status check_paid(struct jinja_machine *machine)
{
    return machine->steps_left > 0 ? STATUS_OK : jinja_machine_step(machine, 1);
}

enum status jinja_compare_equals(struct jinja_machine *machine, bool *equals, struct jinja_value a,
                                 struct jinja_value b)
{
    *equals = jinja_value_equals(a, b, &machine->steps_left);
    return check_paid(machine);
}

enum status jinja_compare_order(struct jinja_machine *machine, bool *has, int *order,
                                struct jinja_value a, struct jinja_value b)
{
    *has = jinja_value_order(order, a, b, &machine->steps_left);
    return check_paid(machine);
}

enum status jinja_compare_is_hashable(struct jinja_machine *machine, bool *is,
                                      struct jinja_value value)
{
    *is = jinja_value_is_hashable(value, &machine->steps_left);
    return check_paid(machine);
}

enum status jinja_compare_find(struct jinja_machine *machine, struct jinja_value **found,
                               const struct jinja_dict *dict, struct jinja_value key)
{
    *found = jinja_dict_find(dict, key, &machine->steps_left);
    return check_paid(machine);
}

enum status jinja_compare_put(struct jinja_machine *machine, struct jinja_dict *dict,
                              struct jinja_value key, struct jinja_value value)
{
    struct jinja_value *there;
    TRY(jinja_compare_find(machine, &there, dict, key));
    if (!there)
        return jinja_dict_add(dict, key, value);
    *there = value;
    return STATUS_OK;
}
