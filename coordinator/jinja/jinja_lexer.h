/* A template's text as tokens, as jinja2 reads it when it is set up as transformers does: one
 * newline behind a block tag is left out, and so is what indents one (trim_blocks and
 * lstrip_blocks). */
#pragma once

#include <stddef.h>

#include "coordinator/jinja/jinja_arena.h"
#include "proto/status.h"

enum jinja_token_kind {
    JINJA_TOKEN_END,
    JINJA_TOKEN_TEXT, /* between tags */
    JINJA_TOKEN_OUTPUT_BEGIN,
    JINJA_TOKEN_OUTPUT_END,
    JINJA_TOKEN_BLOCK_BEGIN,
    JINJA_TOKEN_BLOCK_END,
    JINJA_TOKEN_NAME,
    JINJA_TOKEN_STRING, /* without quotes, its escapes read */
    JINJA_TOKEN_INTEGER,
    JINJA_TOKEN_FLOAT,
    JINJA_TOKEN_OPERATOR,
};

/* Not ended by 0; a view into the arena. */
struct jinja_token {
    enum jinja_token_kind kind;
    int line;   /* from 1 */
    int column; /* from 1, in bytes */
    const char *text;
    size_t bytes;
};

/* The tokens of a template, the last of them the end. INVALID_ARGUMENT, with line and column, where
 * a tag, a comment or a string does not end, or has a character that begins no token. `source` is
 * UTF-8. */
MUST_CHECK enum status jinja_lexer_read(struct jinja_arena *arena,
                                        const struct jinja_token **tokens, const char *source,
                                        size_t bytes);
