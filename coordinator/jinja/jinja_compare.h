/* Comparing for a rendering, which pays for it in steps: values that share what they hold can be
 * far larger than the memory they take. As the functions of jinja_value.h of the same names;
 * OUT_OF_RANGE where the steps do not reach. */
#pragma once

#include <stdbool.h>

#include "coordinator/jinja/jinja_machine.h"
#include "coordinator/jinja/jinja_value.h"
#include "proto/status.h"

MUST_CHECK enum status jinja_compare_equals(struct jinja_machine *machine, bool *equals,
                                            struct jinja_value a, struct jinja_value b);

/* `order` is only set where it `has` one. */
MUST_CHECK enum status jinja_compare_order(struct jinja_machine *machine, bool *has, int *order,
                                           struct jinja_value a, struct jinja_value b);

MUST_CHECK enum status jinja_compare_is_hashable(struct jinja_machine *machine, bool *is,
                                                 struct jinja_value value);

/* NULL where the key is not there. */
MUST_CHECK enum status jinja_compare_find(struct jinja_machine *machine, struct jinja_value **found,
                                          const struct jinja_dict *dict, struct jinja_value key);

MUST_CHECK enum status jinja_compare_put(struct jinja_machine *machine, struct jinja_dict *dict,
                                         struct jinja_value key, struct jinja_value value);
