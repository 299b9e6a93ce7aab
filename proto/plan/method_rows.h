/* The table of methods: one row each, from which spelling, defaults, ranges and bands follow. To
 * add a method, add its row and its kind. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/plan/method.h"

enum method_type {
    METHOD_TOKENS,        /* a number of tokens; an int64_t of struct method */
    METHOD_TRAINED_SHARE, /* the same; also a fraction of the trained length, or `auto` */
    METHOD_REAL,          /* a double of struct method */
};

struct method_parameter {
    const char *name;
    enum method_type type;
    size_t offset; /* of its value in struct method */

    /* METHOD_TOKENS, METHOD_TRAINED_SHARE: the range, its ends included, and the default. It may
     * follow from the parameters before it; 0 stands for a model without a trained length. */
    int64_t least, most;
    int64_t (*absent)(const struct method *method, int64_t trained_tokens);

    /* METHOD_REAL: the range, its lower end excluded, the default, and a word for one number (NULL:
     * none). */
    double above, at_most, absent_real;
    const char *word;
    double word_real;
};

enum { METHOD_PARAMETERS_MAX = 8 };

struct method_row {
    const char *name;
    struct method_parameter parameters[METHOD_PARAMETERS_MAX]; /* to one without a name */
    /* What no range can say: INVALID_ARGUMENT names the parameter. NULL: nothing. */
    enum status (*check)(const struct method *method);
    /* Of a method that passed its checks; `bands` is empty. */
    void (*bands)(const struct method *method, struct bands *bands);
};

/* By enum method_kind. */
extern const struct method_row method_rows[];
extern const int method_rows_count;
