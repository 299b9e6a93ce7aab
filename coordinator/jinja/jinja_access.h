/* What stands behind a point or in square brackets, as jinja2's sandbox looks it up: a.name is an
 * attribute before it is an item, a['name'] the other way round. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

/* Undefined where there is none. INVALID_ARGUMENT where `of` is undefined itself. */
MUST_CHECK enum status jinja_access_attribute(struct jinja_machine *machine,
                                              struct jinja_value *out, struct jinja_value of,
                                              const struct jinja_string *name);

MUST_CHECK enum status jinja_access_item(struct jinja_machine *machine, struct jinja_value *out,
                                         struct jinja_value of, struct jinja_value index);

/* `bounds`: first, end and step, each an integer, none or absent. */
MUST_CHECK enum status jinja_access_slice(struct jinja_machine *machine, struct jinja_value *out,
                                          struct jinja_value of,
                                          const struct jinja_value bounds[3]);

/* What a loop walks, as a list that must not be changed. INVALID_ARGUMENT for a value that cannot
 * be walked. An iterator is used up. */
MUST_CHECK enum status jinja_access_walk(struct jinja_machine *machine, struct jinja_list **list,
                                         struct jinja_value of);
