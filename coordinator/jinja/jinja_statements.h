/* The statements of a template, from its tokens. */
#pragma once

#include "coordinator/jinja/jinja_parser.h"

/* A whole template. UNIMPLEMENTED, by name, for a statement that jinja2 has and this has not. */
MUST_CHECK enum status jinja_statements_read(struct jinja_parser *parser,
                                             struct jinja_nodes *nodes);
