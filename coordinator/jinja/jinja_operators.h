/* What operators do with values, as in Python. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

/* INVALID_ARGUMENT for values that the operation does not take, OUT_OF_RANGE for a whole number of
 * more than 64 bits. Comparisons give a bool. */
MUST_CHECK enum status jinja_operators_apply(struct jinja_machine *machine, struct jinja_value *out,
                                             enum jinja_operation operation, struct jinja_value a,
                                             struct jinja_value b);

MUST_CHECK enum status jinja_operators_negate(struct jinja_machine *machine,
                                              struct jinja_value *out, struct jinja_value value);

/* The first place of `needle` in text[from, bytes); `bytes` where there is none, or it is empty. */
size_t jinja_operators_find(const char *text, size_t from, size_t bytes, const char *needle,
                            size_t needle_bytes);
