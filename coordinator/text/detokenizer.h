/* Ids of one answer to text, as they come: whole characters only, no control tokens, cut before a
 * stop string.
 *
 * What may still become part of a stop string is held back, at most one byte less than the longest
 * of them, and so are up to 3 bytes of a character. Bytes that can be no character come out as
 * U+FFFD, and so does NUL, which would end a message's text.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

enum { DETOKENIZER_STOPS_MAX = 16, DETOKENIZER_STOP_BYTES_MAX = 256 };

/* A text with a length; need not end in 0. */
struct detokenizer_stop {
    const char *text;
    size_t bytes;
};

/* What can be shown now, possibly nothing: a view until the next call. `stopped`: a stop string was
 * met; it is not part of the text, and no more text will follow. */
struct detokenizer_piece {
    const char *text;
    size_t bytes;
    bool stopped;
};

/* The caller owns the struct; its members are the detokenizer's own. */
struct detokenizer {
    const struct tokenizer *tokenizer;
    char *stop_text;                          /* the stop strings, one after the other */
    size_t stop_bytes[DETOKENIZER_STOPS_MAX]; /* their lengths */
    size_t stop_count;
    char *held; /* whole characters: shown ones, then those held back */
    size_t held_bytes;
    size_t held_capacity;
    size_t shown_bytes; /* of held, given out by the last call */
    char partial[4];    /* a character that is not whole yet */
    size_t partial_bytes;
    bool stopped;
};

/* Borrows `tokenizer`, copies the stop strings. INVALID_ARGUMENT for a stop string that is empty,
 * too long or no UTF-8, and for too many of them. */
MUST_CHECK enum status detokenizer_init(struct detokenizer *detokenizer,
                                        const struct tokenizer *tokenizer,
                                        const struct detokenizer_stop *stops, size_t stop_count);

/* Also of a zeroed struct. */
void detokenizer_deinit(struct detokenizer *detokenizer);

/* INVALID_ARGUMENT for an id outside the vocabulary. */
MUST_CHECK enum status detokenizer_feed(struct detokenizer *detokenizer,
                                        struct detokenizer_piece *piece, int32_t id);

/* The end of the answer: gives out what was held back, U+FFFD for a character that stayed cut
 * off. */
MUST_CHECK enum status detokenizer_end(struct detokenizer *detokenizer,
                                       struct detokenizer_piece *piece);

/* The text of `ids` [count] at once, 0-terminated; the caller frees it. It is taken for a whole
 * text: the space that some tokenizers put before one is taken off. Answers, which go on from a
 * prompt, keep it. INVALID_ARGUMENT names the place of an id outside the vocabulary, OUT_OF_RANGE
 * is for more than `bytes_most`. */
MUST_CHECK enum status detokenizer_text(char **text, const struct tokenizer *tokenizer,
                                        const int32_t *ids, size_t count, size_t bytes_most);
