/* The vocabulary in Mistral's tekken.json: bytes by rank, without merges.
 *
 * Source of the form: mistral-common 1.13.
 */
#pragma once

#include <stdint.h>

#include "proto/model/tokenizer_files.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

enum { TEKKEN_BYTES_MAX = 128 << 20 };

/* Reads and checks `files->tokenizer` and the files beside it. As many tokens as `count` says, the
 * rows of the embedding; 0: as many as the file says. The files must outlive the vocabulary.
 * UNIMPLEMENTED names what is not supported. */
MUST_CHECK enum status tekken_read(struct vocab **vocab, const struct tokenizer_files *files,
                                   int32_t count);
