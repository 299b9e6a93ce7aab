/* Words that are built in: all different, of small letters. */
#pragma once

#include <stddef.h>

enum { EVAL_WORDS_ADJECTIVES = 112, EVAL_WORDS_NOUNS = 153 };

extern const char *const eval_words_adjectives[EVAL_WORDS_ADJECTIVES];
extern const char *const eval_words_nouns[EVAL_WORDS_NOUNS];

/* Adjectives, nouns and verbs together. */
const char *const *eval_words_all(size_t *count);
