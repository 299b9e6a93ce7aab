/* Lines of a text. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

/* The filter indent; `argument` is its width (a number or a text), whether the first line is
 * indented too, and whether empty ones are. Each may be absent. */
MUST_CHECK enum status jinja_lines_indent(struct jinja_machine *machine, struct jinja_value *out,
                                          const struct jinja_string *string,
                                          const struct jinja_value *argument);
