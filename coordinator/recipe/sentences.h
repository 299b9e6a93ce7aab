/* Sentences of token ids. A token that ends one is found in the model's own vocabulary by the bytes
 * it stands for: nothing but full stops, question marks, exclamation marks and newlines, at least
 * one of them, with blanks before, between or behind. The token itself closes its sentence. So do
 * the tokens that end a text for the model.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

struct sentences {
    bool *ends; /* [count], by id */
    int32_t count;
    int32_t delimiters; /* how many ids end a sentence */
};

/* `spelling`: "auto", or ids apart by blanks, which then are all that there are. INVALID_ARGUMENT
 * for ids outside the vocabulary, FAILED_PRECONDITION where "auto" finds none. */
MUST_CHECK enum status sentences_init(struct sentences *sentences,
                                      const struct tokenizer *tokenizer, const char *spelling);

/* Also of {0}. */
void sentences_deinit(struct sentences *sentences);

/* For tests: whether `bytes` of text end a sentence: the rule above. */
bool sentences_is_delimiter(const char *text, size_t bytes);

/* The end of the sentence that begins at `first`: past its delimiter, or `count`. */
int64_t sentences_end(const struct sentences *sentences, const int32_t *ids, int64_t count,
                      int64_t first);
