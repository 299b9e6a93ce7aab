/* Chat templates: a bounded part of jinja2, set up as transformers does it (trim_blocks,
 * lstrip_blocks, break and continue, the tag generation, tojson without escapes for HTML,
 * raise_exception, strftime_now). A template is a program from whoever made a model file: its size,
 * its depth, its steps, its memory and what it writes are limited. What it lacks is refused by
 * name, with line and column.
 *
 * Text remembers who wrote it (jinja_string.h). A template does not change after it was created:
 * any number of threads may render it.
 */
#pragma once

#include <stddef.h>
#include <time.h>

#include "coordinator/jinja/jinja_value.h"
#include "proto/status.h"

enum { JINJA_TEMPLATE_BYTES_MAX = 256 << 10 };

struct jinja_template;

/* INVALID_ARGUMENT for a template that is not well formed or no UTF-8, OUT_OF_RANGE for one beyond
 * the limits, UNIMPLEMENTED for a statement that is not supported. */
MUST_CHECK enum status jinja_template_create(struct jinja_template **template, const char *source,
                                             size_t bytes);

/* Accepts NULL. */
void jinja_template_destroy(struct jinja_template *template);

/* The memory of one rendering of a conversation of `input_bytes`: what jinja_template_render needs,
 * and what its variables lie in. */
struct jinja_arena jinja_template_arena(size_t input_bytes);

struct jinja_template_args {
    const struct jinja_dict *variables; /* by name; in the arena */
    size_t input_bytes;                 /* what all texts in it have: the limits grow with it */
    const struct tm *now;               /* the date that strftime_now knows */
};

/* `text` lies in the arena, and where the variables' texts lie. INVALID_ARGUMENT where the template
 * refuses the conversation or makes a mistake, UNIMPLEMENTED for what is not supported,
 * OUT_OF_RANGE past a limit. */
MUST_CHECK enum status jinja_template_render(const struct jinja_template *template,
                                             const struct jinja_string **text,
                                             struct jinja_arena *arena,
                                             const struct jinja_template_args *args);
