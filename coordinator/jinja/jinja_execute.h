/* The statements of a template, carried out. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

MUST_CHECK enum status jinja_execute(struct jinja_machine *machine,
                                     const struct jinja_nodes *nodes);

/* What they write goes to `text`. */
MUST_CHECK enum status jinja_execute_into(struct jinja_machine *machine, struct jinja_text *text,
                                          const struct jinja_nodes *nodes);
