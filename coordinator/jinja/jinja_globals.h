/* Functions that templates call by name. */
#pragma once

#include "coordinator/jinja/jinja_call.h"

/* NULL where there is no such function. */
const struct jinja_function_row *jinja_globals_find(const char *name);
