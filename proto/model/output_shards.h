/* How the tensors of a model that is written are cut into files, and what those are called. */
#pragma once

#include <stddef.h>

#include "proto/model/output_tensors.h"
#include "proto/status.h"

enum { OUTPUT_SHARDS_MAX = 1024 }; /* what readers take */

struct output_shards {
    int first[OUTPUT_SHARDS_MAX + 1]; /* shard s has tensors first[s] .. first[s + 1] */
    int count;                        /* 1 or more */
};

/* In the order of the tensors, each as full as `most_bytes` allows; a tensor that is larger is
 * alone. 0 bytes: one shard. INVALID_ARGUMENT where there would be more than OUTPUT_SHARDS_MAX. */
MUST_CHECK enum status output_shards_plan(struct output_shards *shards,
                                          const struct output_tensor *tensors, int count,
                                          uint64_t most_bytes);

/* "model.safetensors", or "model-00002-of-00003.safetensors" for shard 1 of 3. */
void output_shards_name(char *name, size_t bytes, int shard, int count);

/* Where part `shard` of a GGUF model lies: "x.gguf", or "x-00002-of-00003.gguf". INVALID_ARGUMENT
 * for a path that is too long, or does not end in .gguf where there are several. */
MUST_CHECK enum status output_shards_gguf_path(char *place, size_t bytes, const char *path,
                                               int shard, int count);
