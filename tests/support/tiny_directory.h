/* The small models of tiny_model.h as Hugging Face lays them out: the same weights, the same
 * tokens. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "proto/model/model.h"
#include "tests/support/tiny_model.h"

/* Writes the files into `folder`, which exists; the weights into `shards` files. `dtype` is F32,
 * F16 or BF16. Any failure ends the test. */
void tiny_directory_write(const char *folder, const struct tiny_model_shape *shape, uint64_t seed,
                          enum dtype dtype, int shards);

/* Removes what was written, and the folder. */
void tiny_directory_remove(const char *folder);

/* The parts by themselves; json_decref ends them. */
json_t *tiny_directory_tokenizer(const struct vocab *vocab);
json_t *tiny_directory_tokenizer_config(const struct vocab *vocab);
