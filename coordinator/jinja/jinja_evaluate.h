/* What an expression of a template is worth. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

MUST_CHECK enum status jinja_evaluate(struct jinja_machine *machine, struct jinja_value *out,
                                      const struct jinja_node *node);

/* A chain of filters, the first of which takes `in`: what a block goes through. */
MUST_CHECK enum status jinja_evaluate_filters(struct jinja_machine *machine,
                                              struct jinja_value *out,
                                              const struct jinja_node *node, struct jinja_value in);

struct jinja_named_argument;

/* A call, with one more argument by name. */
MUST_CHECK enum status jinja_evaluate_call(struct jinja_machine *machine, struct jinja_value *out,
                                           const struct jinja_node *node,
                                           const struct jinja_named_argument *more);
