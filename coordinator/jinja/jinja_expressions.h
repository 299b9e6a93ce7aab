/* Expressions of a template. */
#pragma once

#include "coordinator/jinja/jinja_parser.h"

MUST_CHECK enum status jinja_expressions_read(struct jinja_parser *parser,
                                              const struct jinja_node **node);

/* One expression, or a tuple of several with commas between them. It ends at the end of its tag. */
MUST_CHECK enum status jinja_expressions_read_tuple(struct jinja_parser *parser,
                                                    const struct jinja_node **node,
                                                    bool is_conditional);

/* What is assigned to: a name, a member of a namespace, or a tuple of such. */
MUST_CHECK enum status jinja_expressions_read_target(struct jinja_parser *parser,
                                                     const struct jinja_node **node);

/* Filters that a block goes through: "upper | trim". */
MUST_CHECK enum status jinja_expressions_read_filters(struct jinja_parser *parser,
                                                      const struct jinja_node **node);

/* A call, as {% call %} takes it. */
MUST_CHECK enum status jinja_expressions_read_call(struct jinja_parser *parser,
                                                   const struct jinja_node **node);
