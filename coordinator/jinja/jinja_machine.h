/* One rendering of a template: its memory, its limits, its variables, and where it stands. What
 * every part of the evaluation shares. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "coordinator/jinja/jinja_node.h"
#include "coordinator/jinja/jinja_value.h"
#include "proto/status.h"

/* Expressions, statements, calls and lists in each other, all together: what bounds the stack. */
enum { JINJA_MACHINE_DEPTH_MAX = 600 };

struct jinja_binding {
    const struct jinja_name *name;
    struct jinja_value value;
    struct jinja_binding *next;
};

/* A loop's turn, a macro's call or a block has its own variables, and sees those around it. */
struct jinja_scope {
    struct jinja_scope *parent;
    struct jinja_binding *bindings;
};

enum jinja_jump { JINJA_JUMP_NONE, JINJA_JUMP_BREAK, JINJA_JUMP_CONTINUE };

struct jinja_loop {
    const struct jinja_list *list;
    size_t index; /* from 0 */
};

struct jinja_macro {
    const struct jinja_name *name;
    const struct jinja_nodes *parameters;
    const struct jinja_nodes *body;
    struct jinja_scope *scope; /* where it was defined */
};

/* Names that the evaluation itself sets. */
struct jinja_words {
    const struct jinja_name *loop;
    const struct jinja_name *caller;
};

struct jinja_machine {
    struct jinja_arena *arena;
    const struct jinja_words *words;
    const struct jinja_node *node; /* what is evaluated, for messages */
    struct jinja_scope *scope;
    struct jinja_text *out;
    int64_t steps_left;
    int depth;
    enum jinja_jump jump;
    const struct tm *now;
};

/* The sentence begins with the line and column of machine->node. */
__attribute__((format(printf, 3, 4))) MUST_CHECK enum status
jinja_machine_fail(const struct jinja_machine *machine, enum status status, const char *format,
                   ...);

/* Counts work. OUT_OF_RANGE past the limit. */
MUST_CHECK enum status jinja_machine_step(struct jinja_machine *machine, size_t steps);

/* Work on bytes, such as searching in a text. */
MUST_CHECK enum status jinja_machine_step_bytes(struct jinja_machine *machine, size_t bytes);

/* Cutting a part out of a text, which looks at its pieces one after the other. */
MUST_CHECK enum status jinja_machine_step_slice(struct jinja_machine *machine,
                                                const struct jinja_string *string);

/* Goes one level deeper; jinja_machine_leave comes back. OUT_OF_RANGE past the limit. */
MUST_CHECK enum status jinja_machine_enter(struct jinja_machine *machine);
void jinja_machine_leave(struct jinja_machine *machine);

/* A scope within `parent`, which becomes the machine's. */
MUST_CHECK enum status jinja_machine_open_scope(struct jinja_machine *machine,
                                                struct jinja_scope *parent);

MUST_CHECK enum status jinja_machine_put(struct jinja_machine *machine,
                                         const struct jinja_name *name, struct jinja_value value);

/* Undefined where no scope has it. */
MUST_CHECK enum status jinja_machine_find(struct jinja_machine *machine, struct jinja_value *value,
                                          const struct jinja_name *name);

/* Undefined, with what was looked for. */
struct jinja_value jinja_machine_undefined(const struct jinja_string *name);
