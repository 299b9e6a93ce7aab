/* Values as text: as Python's str() and repr(), and as json.dumps. */
#pragma once

#include <stdbool.h>

#include "coordinator/jinja/jinja_machine.h"

/* As str(): of a string itself, of an undefined value nothing. UNIMPLEMENTED for what Python shows
 * with an address in memory. */
MUST_CHECK enum status jinja_show_string(struct jinja_machine *machine,
                                         const struct jinja_string **string,
                                         struct jinja_value value);

/* What a float is in Python, at most 32 bytes with its end; the same in JSON. */
void jinja_show_float(char *text, double real);

struct jinja_show_json_args {
    bool is_ascii;                           /* other characters as \u escapes */
    bool is_sorted;                          /* by key */
    const struct jinja_string *indent;       /* one step of it; NULL: all on one line */
    const struct jinja_string *item_between; /* NULL: as json.dumps has it */
    const struct jinja_string *key_behind;
};

/* As json.dumps, without escapes for HTML. What a value's strings hold keeps its origin, the rest
 * is not own text. INVALID_ARGUMENT for a value that JSON has no word for. */
MUST_CHECK enum status jinja_show_json(struct jinja_machine *machine,
                                       const struct jinja_string **string, struct jinja_value value,
                                       const struct jinja_show_json_args *args);
