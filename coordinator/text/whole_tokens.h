/* Finds the tokens of a text that are written as they are ("<|im_start|>"), before the rest goes
 * through BPE. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct whole_tokens;

/* Of a token: finding one takes as long for each byte of a text. */
enum { WHOLE_TOKENS_BYTES_MAX = 1024 };

struct whole_tokens_entry {
    const char *text; /* copied; an empty one is never found */
    size_t bytes;
    int32_t id;
    unsigned match; /* of enum vocab_match: LSTRIP, RSTRIP, SINGLE_WORD */
    bool control;
};

/* Of two entries that are written alike the one with the smaller id counts. DATA_LOSS where one is
 * too long. */
MUST_CHECK enum status whole_tokens_create(struct whole_tokens **tokens,
                                           const struct whole_tokens_entry *entries, size_t count);

/* Accepts NULL. */
void whole_tokens_destroy(struct whole_tokens *tokens);

/* A token in a text, with the white space that it takes. */
struct whole_tokens_found {
    size_t first; /* the text's length where there is none */
    size_t end;
    size_t next; /* where to look on: not behind `end` */
    int32_t id;
};

/* The first place from `from` on where a token is written, the longest where several begin there.
 * `taken` is the end of what the tokens before it took. `control`: whether control tokens count. */
struct whole_tokens_found whole_tokens_find(const struct whole_tokens *tokens, const char *text,
                                            size_t bytes, size_t from, size_t taken, bool control);

/* -1 where no control token is written so. */
int32_t whole_tokens_control_id(const struct whole_tokens *tokens, const char *text, size_t bytes);
