/* A model that is made of a shape, to be trained from scratch: config.json as Hugging Face writes
 * it for a Llama or one of its kin (architecture.h), and a vocabulary of bytes (byte_vocab.h). */
#pragma once

#include "proto/model/model_values.h"
#include "proto/model/spec.h"
#include "proto/status.h"

/* The facts of a config.json by itself. Its vocab_size must have room for bytes and an end:
 * INVALID_ARGUMENT. Else as a model's directory fails. */
MUST_CHECK enum status model_new_read_spec(struct model_spec *spec, const char *config_path);

/* Writes the folder `path` with config.json, tokenizer and weights in float32, beside its place and
 * renamed, as model_save does. Then it is a model like any other. */
MUST_CHECK enum status model_new_write(const char *path, const char *config_path,
                                       const struct model_values *values);
