/* Filters that walk a value. */
#pragma once

#include "coordinator/jinja/jinja_call.h"

jinja_function jinja_items_length;
jinja_function jinja_items_first;
jinja_function jinja_items_last;
jinja_function jinja_items_list;
jinja_function jinja_items_reverse;
jinja_function jinja_items_join;
jinja_function jinja_items_sum;
jinja_function jinja_items_map;
jinja_function jinja_items_select;
jinja_function jinja_items_reject;
jinja_function jinja_items_selectattr;
jinja_function jinja_items_rejectattr;

/* What an item has under a path of names and numbers, "a.0.b"; the item itself where `path` is
 * absent or none. */
MUST_CHECK enum status jinja_items_member(struct jinja_machine *machine, struct jinja_value *out,
                                          struct jinja_value item, struct jinja_value path);
