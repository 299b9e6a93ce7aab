/* Methods of Python's types, as far as templates use them. */
#pragma once

#include "coordinator/jinja/jinja_call.h"

/* NULL where the type has no such method, or one that the sandbox hides as it changes a value. */
const struct jinja_function_row *jinja_methods_find(enum jinja_kind kind, const char *name);

/* The pairs of a dict, as a view or an iterator. */
MUST_CHECK enum status jinja_methods_items(struct jinja_machine *machine, struct jinja_value *out,
                                           const struct jinja_dict *dict, enum jinja_kind kind);
