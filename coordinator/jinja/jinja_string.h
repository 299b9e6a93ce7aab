/* Text in a template's values: pieces, each with its origin. What the template's author wrote is
 * own text, and may become control tokens; what a conversation brings never does. Every operation
 * on text keeps the origin of each byte (docs/decisions/chat-forms.md).
 *
 * A string does not change; its pieces point into the template, the conversation or an arena. They
 * are UTF-8 and end between characters. NULL and OUT_OF_RANGE stand for an arena that is full. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/jinja/jinja_arena.h"
#include "proto/status.h"

struct jinja_piece {
    const char *text;
    size_t bytes;
    bool is_own; /* written by the template's author */
};

struct jinja_string {
    size_t bytes;
    size_t count;
    bool is_safe;               /* went through the filter safe: + escapes what is added */
    const char *flat;           /* all bytes in one place, once they were asked for */
    struct jinja_piece *pieces; /* [count] */
};

/* Text that grows. {.arena = A} is empty. */
struct jinja_text {
    struct jinja_arena *arena;
    struct jinja_piece *pieces;
    size_t count;
    size_t room;
    size_t bytes;
    size_t bytes_max; /* 0: no limit but the arena's */
};

/* Borrows `text`. */
MUST_CHECK enum status jinja_text_add(struct jinja_text *to, const char *text, size_t bytes,
                                      bool is_own);

/* Copies `text`, which is not own. */
MUST_CHECK enum status jinja_text_copy(struct jinja_text *to, const char *text, size_t bytes);

MUST_CHECK enum status jinja_text_add_string(struct jinja_text *to,
                                             const struct jinja_string *string);

/* The bytes first .. end - 1 of a string. */
MUST_CHECK enum status jinja_text_add_slice(struct jinja_text *to,
                                            const struct jinja_string *string, size_t first,
                                            size_t end);

/* Ends a text: it must not grow any more. */
MUST_CHECK enum status jinja_text_string(struct jinja_text *text,
                                         const struct jinja_string **string);

/* Borrows `text`. */
MUST_CHECK enum status jinja_string_make(struct jinja_arena *arena,
                                         const struct jinja_string **string, const char *text,
                                         size_t bytes, bool is_own);

MUST_CHECK enum status jinja_string_slice(struct jinja_arena *arena,
                                          const struct jinja_string **slice,
                                          const struct jinja_string *string, size_t first,
                                          size_t end);

/* All bytes in one place, not ended by 0. */
MUST_CHECK enum status jinja_string_flat(struct jinja_arena *arena, const char **text,
                                         const struct jinja_string *string);

/* In characters. */
size_t jinja_string_length(const struct jinja_string *string);

/* As memcmp over the bytes, which for UTF-8 is the sequence of code points. */
int jinja_string_compare(const struct jinja_string *a, const struct jinja_string *b);

bool jinja_string_is(const struct jinja_string *string, const char *text);
