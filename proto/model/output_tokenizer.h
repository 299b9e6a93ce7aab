/* The files of a tokenizer in a model's folder, made of a vocabulary: tokenizer.json,
 * tokenizer_config.json and generation_config.json, as transformers and tokenizer_json.h read
 * them. */
#pragma once

#include "proto/model/output_folder.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* UNIMPLEMENTED for what tokenizer.json is not written for: a vocabulary that is not byte-level
 * BPE, or a pre-tokenizer that is not known. `name` stands for the model in the sentence. */
MUST_CHECK enum status output_tokenizer_check(const struct vocab *vocab, const char *name);

/* Of a vocabulary that has been checked. */
MUST_CHECK enum status output_tokenizer_write(const struct output_folder *folder,
                                              const struct vocab *vocab);
