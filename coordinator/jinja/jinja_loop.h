/* The members of "loop" inside a for. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

/* False where it has no such member. */
bool jinja_loop_attribute(struct jinja_value *out, const struct jinja_loop *loop, const char *name);
