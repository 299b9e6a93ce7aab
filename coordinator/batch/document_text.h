/* Whether what comes in pieces is a document's text: UTF-8 without NUL. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"
#include "proto/utf8.h"

/* All zero begins a text. */
struct document_text {
    char cut[UTF8_SEQUENCE_BYTES_MAX]; /* a character that has begun in an earlier piece */
    size_t cut_bytes;
    int64_t bytes; /* so far */
};

/* INVALID_ARGUMENT with the byte where it is none. Not again after a failure. */
MUST_CHECK enum status document_text_take(struct document_text *text, const char *piece,
                                          size_t bytes);

/* INVALID_ARGUMENT where it ends inside of a character. */
MUST_CHECK enum status document_text_end(const struct document_text *text);
