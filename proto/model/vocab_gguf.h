/* The vocabulary in a GGUF file. */
#pragma once

#include "proto/model/gguf.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* Reads and checks tokenizer.*, which the file must have. `gguf` must outlive the vocabulary. */
MUST_CHECK enum status vocab_gguf_read(struct vocab **vocab, const struct gguf *gguf);
