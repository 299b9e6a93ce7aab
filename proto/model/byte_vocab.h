/* The vocabulary of models that are trained from scratch on bytes: a token for each byte, and one
 * that ends a text. No merges. */
#pragma once

#include <stdint.h>

#include "proto/model/vocab.h"
#include "proto/status.h"

enum {
    BYTE_VOCAB_END = 256, /* <|endoftext|>; the token of byte b is b */
    BYTE_VOCAB_COUNT = 257
};

/* `count` tokens, BYTE_VOCAB_COUNT and more: those beyond are unused. */
MUST_CHECK enum status byte_vocab_create(struct vocab **vocab, int32_t count);
