/* Upper and lower case. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

enum jinja_letters {
    JINJA_LETTERS_UPPER,
    JINJA_LETTERS_LOWER,
    JINJA_LETTERS_CAPITALIZE, /* the first one upper, all others lower */
    JINJA_LETTERS_TITLE,      /* as str.title: those behind anything but a letter */
    JINJA_LETTERS_WORDS,      /* as jinja2's title: those behind white space and opening brackets */
};

/* UNIMPLEMENTED for letters that become several ones ("ß"). Each keeps its origin. */
MUST_CHECK enum status jinja_letters_change(struct jinja_machine *machine, struct jinja_value *out,
                                            const struct jinja_string *string,
                                            enum jinja_letters how);
