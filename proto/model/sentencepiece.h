/* The vocabulary of a SentencePiece model file (tokenizer.model), of its BPE with byte fallback.
 *
 * Source of the fields: the published description of the message ModelProto, sentencepiece 0.2.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/model/vocab.h"
#include "proto/status.h"

enum { SENTENCEPIECE_BYTES_MAX = 64 << 20 };

/* Sets kind, tokens, scores, steps and the special ids that the file names. `count` tokens, the
 * rows of the embedding: those that the file does not name are unused; 0: as many as it names, and
 * `at_least` as many.
 * Texts are views into `data`. UNIMPLEMENTED names what is not supported. */
MUST_CHECK enum status sentencepiece_read(struct vocab_parts *parts, const void *data, size_t bytes,
                                          const char *name, int32_t count, int32_t at_least);
