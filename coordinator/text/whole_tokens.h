/* Finds the tokens of a text that are written as they are ("<|im_start|>"), before the rest goes
 * through BPE. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct token_table;
struct whole_tokens;

/* Borrows `table`. */
MUST_CHECK enum status whole_tokens_create(struct whole_tokens **tokens,
                                           const struct token_table *table);

/* Accepts NULL. */
void whole_tokens_destroy(struct whole_tokens *tokens);

/* The first place in text[from, bytes) where a token is written, the longest where several begin
 * there: its id and length. Returns `bytes` where there is none. `control`: whether control tokens
 * count. */
size_t whole_tokens_find(const struct whole_tokens *tokens, int32_t *id, size_t *length,
                         const char *text, size_t from, size_t bytes, bool control);

/* -1 where no control token is written so. */
int32_t whole_tokens_control_id(const struct whole_tokens *tokens, const char *text, size_t bytes);
