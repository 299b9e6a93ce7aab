/* str.format: "{}", "{0}" and "{name}" without a format behind. */
#pragma once

#include "coordinator/jinja/jinja_call.h"

MUST_CHECK enum status jinja_format(struct jinja_machine *machine, struct jinja_value *out,
                                    const struct jinja_call *call);
