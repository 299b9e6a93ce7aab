/* What stands behind "is". */
#pragma once

#include "coordinator/jinja/jinja_call.h"

/* NULL where jinja2 has no such test, or this has not. Each gives a bool. */
const struct jinja_function_row *jinja_tests_find(const char *name);
