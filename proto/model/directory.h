/* A model as Hugging Face lays it out in a directory: config.json, tokenizer.json (or without that
 * tokenizer.model or tekken.json), tokenizer_config.json, generation_config.json,
 * chat_template.jinja, and model.safetensors or model.safetensors.index.json with the files that it
 * names.
 *
 * A build without jansson has directory_absent.c in its place, which refuses to open one.
 */
#pragma once

#include <stdint.h>

#include "proto/model/checkpoint.h"
#include "proto/model/spec.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* Maps and checks the files, and lists those that matter, config.json first, and their tensors: the
 * caller frees the two arrays, also on failure. */
MUST_CHECK enum status directory_open(struct directory **directory,
                                      struct checkpoint_listing *listing, const char *path);

/* Maps the files of the tokenizer alone, without weights: for directory_read_vocab. NOT_FOUND where
 * there is none of the three files. */
MUST_CHECK enum status directory_open_tokenizer(struct directory **directory, const char *path);

/* Accepts NULL. */
void directory_close(struct directory *directory);

/* The facts of config.json; UNIMPLEMENTED names what is not supported. */
MUST_CHECK enum status directory_read_spec(struct model_spec *spec,
                                           const struct directory *directory);

/* The tokenizer, with unused tokens up to `count`, the rows of the embedding; 0:
 * as many as the files name. NULL where there is none. */
MUST_CHECK enum status directory_read_vocab(struct vocab **vocab, const struct directory *directory,
                                            int32_t count);
