/* Cuts a text into the words that BPE works on, each by itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

struct pretokenizer;
struct pretokenizer_walk;

/* `name` as tokenizer.ggml.pre has it. UNIMPLEMENTED, with the names that are known, for another
 * one. */
MUST_CHECK enum status pretokenizer_create(struct pretokenizer **pretokenizer, const char *name,
                                           size_t name_bytes);

/* Accepts NULL. */
void pretokenizer_destroy(struct pretokenizer *pretokenizer);

/* Whether a word that is a token needs no merges to become it. */
bool pretokenizer_ignores_merges(const struct pretokenizer *pretokenizer);

/* Whether a text begins with BOS where the file does not say. */
bool pretokenizer_adds_bos(const struct pretokenizer *pretokenizer);

/* Whether a text is brought into normal form C first where the file does not say. */
bool pretokenizer_normalises(const struct pretokenizer *pretokenizer);

/* A walk belongs to one thread and to any number of texts, one after the other. */
MUST_CHECK enum status pretokenizer_walk_create(struct pretokenizer_walk **walk,
                                                const struct pretokenizer *pretokenizer);

/* Accepts NULL. */
void pretokenizer_walk_destroy(struct pretokenizer_walk *walk);

/* `text` must be UTF-8; borrowed until the next call. */
void pretokenizer_walk_begin(struct pretokenizer_walk *walk, const char *text, size_t bytes);

/* The next word; the words side by side are the text. *bytes is 0 at the end. */
MUST_CHECK enum status pretokenizer_walk_next(struct pretokenizer_walk *walk, const char **word,
                                              size_t *bytes);
