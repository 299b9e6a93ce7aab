/* Taking away and replacing within a text. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

/* `characters` that are taken away at either side; NULL: white space. */
MUST_CHECK enum status jinja_edit_strip(struct jinja_machine *machine, struct jinja_value *out,
                                        const struct jinja_string *string,
                                        const struct jinja_string *characters, bool left,
                                        bool right);

/* At most `limit` times, from the left. */
MUST_CHECK enum status jinja_edit_replace(struct jinja_machine *machine, struct jinja_value *out,
                                          const struct jinja_string *string,
                                          const struct jinja_string *old,
                                          const struct jinja_string *new_text, size_t limit);
