/* Calling what a template names: filters, tests, functions and methods are rows of tables, which
 * say what their parameters are called; macros are the template's own. */
#pragma once

#include "coordinator/jinja/jinja_machine.h"

enum { JINJA_ARGUMENTS_MAX = 4 };

struct jinja_named_argument {
    const struct jinja_name *name;
    struct jinja_value value;
};

struct jinja_args {
    struct jinja_value *values; /* [count] */
    size_t count;
    struct jinja_named_argument *named; /* [named_count] */
    size_t named_count;
};

/* What a function gets: what it is applied to (absent for a global function), its arguments by
 * parameter, absent where not given, and all as they were written. */
struct jinja_call {
    struct jinja_value in;
    struct jinja_value argument[JINJA_ARGUMENTS_MAX];
    const struct jinja_args *all;
};

typedef enum status jinja_function(struct jinja_machine *machine, struct jinja_value *out,
                                   const struct jinja_call *call);

/* `parameters` are names with spaces between them, those that must be given with a "!" behind; "*"
 * where the function looks at all arguments itself. */
struct jinja_function_row {
    const char *name;
    const char *parameters;
    jinja_function *run; /* NULL: jinja2 or Python has it, this has not */
};

/* A method with what it was taken from. */
struct jinja_method {
    const struct jinja_function_row *row;
    struct jinja_value of;
};

/* NULL where the table has no such row. Tables end with a row without a name. */
const struct jinja_function_row *jinja_call_find(const struct jinja_function_row *rows,
                                                 const char *name);

/* INVALID_ARGUMENT for arguments that the row has no parameter for, UNIMPLEMENTED for a row without
 * a function; `what` is "filter", "method" or the like. */
MUST_CHECK enum status jinja_call_row(struct jinja_machine *machine, struct jinja_value *out,
                                      const char *what, const struct jinja_function_row *row,
                                      struct jinja_value in, const struct jinja_args *args);

/* Calls a macro, a method or a function. */
MUST_CHECK enum status jinja_call_value(struct jinja_machine *machine, struct jinja_value *out,
                                        struct jinja_value callee, const struct jinja_args *args);
