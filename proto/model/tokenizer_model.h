/* The vocabulary in a tokenizer.model of SentencePiece, with the files beside it. */
#pragma once

#include <stdint.h>

#include "proto/model/tokenizer_files.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* Reads and checks. `files->tokenizer` is the model; tokens that tokenizer_config.json adds to it
 * (added_tokens_decoder) are taken in. As many tokens as `count` says, the rows of the embedding;
 * 0: as many as the files name. The files must outlive the vocabulary. */
MUST_CHECK enum status tokenizer_model_read(struct vocab **vocab,
                                            const struct tokenizer_files *files, int32_t count);
