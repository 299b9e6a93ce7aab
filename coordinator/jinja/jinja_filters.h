/* What stands behind "|". */
#pragma once

#include "coordinator/jinja/jinja_call.h"

/* NULL where jinja2 as transformers sets it up has no such filter. */
const struct jinja_function_row *jinja_filters_find(const char *name);
