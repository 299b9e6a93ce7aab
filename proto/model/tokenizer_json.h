/* The vocabulary in a tokenizer.json and the files beside it.
 *
 * BPE over bytes, with pre-tokenizers that coordinator/text/pretokenizer_rows.c knows, or over
 * characters with byte fallback, as it comes from SentencePiece. Every part of the file that shapes
 * ids is either one that is known, by exact comparison, or refused by its name.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/model/tokenizer_files.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

enum { TOKENIZER_JSON_BYTES_MAX = 128 << 20 };

/* Reads and checks. The vocabulary has `count` tokens, the rows of the embedding: those that the
 * files do not name are unused. The files must outlive it. */
MUST_CHECK enum status tokenizer_json_read(struct vocab **vocab,
                                           const struct tokenizer_files *files, int32_t count);
