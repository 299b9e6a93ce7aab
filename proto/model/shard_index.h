/* model.safetensors.index.json: which file holds which tensor. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/checkpoint.h"
#include "proto/status.h"

enum { SHARD_INDEX_BYTES_MAX = 32 << 20, SHARD_INDEX_FILES_MAX = 1024 };

struct shard_index;

/* Reads bytes in memory, which are not needed afterwards. `name` is borrowed until
 * shard_index_close. Files are plain names that end in .safetensors: nothing outside the
 * directory. */
MUST_CHECK enum status shard_index_parse(struct shard_index **index, const void *data, size_t bytes,
                                         const char *name);

/* Accepts NULL. */
void shard_index_close(struct shard_index *index);

/* Each once, sorted. */
int shard_index_file_count(const struct shard_index *index);
const char *shard_index_file(const struct shard_index *index, int file);

/* Whether `tensors`, the tensors of file `file`, are those that the index places there, no more and
 * no fewer. */
MUST_CHECK enum status shard_index_check_file(const struct shard_index *index, int file,
                                              const struct checkpoint_tensor *tensors, int count);

/* Whether the index states another total than the bytes of all tensors. The total is informative:
 * places and sizes of the tensors are what is checked. */
bool shard_index_total_differs(const struct shard_index *index, double *stated, uint64_t bytes);
