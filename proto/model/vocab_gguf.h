/* The vocabulary in a GGUF file. */
#pragma once

#include <stdbool.h>

#include "proto/model/gguf.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* Whether the file has a vocabulary, whole or in part. */
bool vocab_gguf_is_there(const struct gguf *gguf);

/* Reads and checks tokenizer.*, which the file must have. `gguf` must outlive the vocabulary. */
MUST_CHECK enum status vocab_gguf_read(struct vocab **vocab, const struct gguf *gguf);
