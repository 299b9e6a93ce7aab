/* The keys of a tokenizer in a GGUF file that is written. */
#pragma once

#include "proto/model/gguf_pairs.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* UNIMPLEMENTED for what GGUF has no key for. `name` stands for the model in the sentence. */
MUST_CHECK enum status output_gguf_vocab_check(const struct vocab *vocab, const char *name);

/* Of a vocabulary that has been checked. */
void output_gguf_vocab_put(struct gguf_pairs *pairs, const struct vocab *vocab);
