/* The tokens of a vocabulary: the bytes each stands for, and the way back from the file's spelling
 * to the id. A byte-level one spells bytes in an alphabet of printable characters ("\u0120t" is
 * " t"), one of kind "llama" characters and single bytes ("\u2581t" is " t", "<0x0A>" a newline).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct token_table;
struct vocab;

/* Copies the tokens; borrows `vocab`, until token_table_forget_spellings, for the way back.
 * DATA_LOSS for a byte token that is not spelt as one. */
MUST_CHECK enum status token_table_create(struct token_table **table, const struct vocab *vocab);

/* Accepts NULL. */
void token_table_destroy(struct token_table *table);

/* The id of what the file spells as `first` followed by `second`; -1 where there is none. Of
 * several the last. */
int32_t token_table_find(const struct token_table *table, const char *first, size_t first_bytes,
                         const char *second, size_t second_bytes);

/* The id of a single byte, -1 where the vocabulary has none. */
int32_t token_table_find_byte(const struct token_table *table, uint8_t byte);

/* Drops what only token_table_find needs; with `keep_words`, token_table_find_word takes its
 * place. */
void token_table_forget_spellings(struct token_table *table, bool keep_words);

/* The normal token that stands for these bytes, more than none of them; -1 where there is none. */
int32_t token_table_find_word(const struct token_table *table, const char *word, size_t bytes);

int32_t token_table_count(const struct token_table *table);

/* A view that lives as long as the table. */
const char *token_table_bytes(const struct token_table *table, int32_t id, size_t *bytes);

/* Written as it is and matched whole in a text: control, user-defined and unknown tokens. */
bool token_table_is_whole(const struct token_table *table, int32_t id);

/* Never printed: control and unknown tokens. */
bool token_table_is_control(const struct token_table *table, int32_t id);

/* Recognised only where that is asked for: control tokens, and those that the file has as
 * user-defined, but that are written like a turn's (turn_mark.h). */
bool token_table_is_reserved(const struct token_table *table, int32_t id);
