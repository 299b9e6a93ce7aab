/* Owns the cutting of a written model into files. */
#include "proto/model/output_shards.h"

#include <stdio.h>
#include <string.h>

enum status output_shards_plan(struct output_shards *shards, const struct output_tensor *tensors,
                               int count, uint64_t most_bytes)
{
    uint64_t bytes = 0;
    shards->count = 1;
    shards->first[0] = 0;
    for (int i = 0; i < count; i++) {
        const bool fits = most_bytes == 0 || bytes + tensors[i].bytes <= most_bytes;
        if (!fits && i > shards->first[shards->count - 1]) {
            if (shards->count == OUTPUT_SHARDS_MAX)
                return fail(STATUS_INVALID_ARGUMENT,
                            "files of at most %llu bytes would be more than %d; allow larger ones",
                            (unsigned long long)most_bytes, OUTPUT_SHARDS_MAX);
            shards->first[shards->count++] = i;
            bytes = 0;
        }
        bytes += tensors[i].bytes;
    }
    shards->first[shards->count] = count;
    return STATUS_OK;
}

void output_shards_name(char *name, size_t bytes, int shard, int count)
{
    if (count == 1)
        snprintf(name, bytes, "model.safetensors");
    else
        snprintf(name, bytes, "model-%05d-of-%05d.safetensors", shard + 1, count);
}

enum status output_shards_gguf_path(char *place, size_t bytes, const char *path, int shard,
                                    int count)
{
    static const char suffix[] = ".gguf";
    const size_t length = strlen(path);
    const size_t stem = length > strlen(suffix) ? length - strlen(suffix) : 0;
    const bool is_named = stem > 0 && strcmp(path + stem, suffix) == 0;
    if (count > 1 && !is_named)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s is to be %d files, and its name does not end in .gguf", path, count);
    const int written = count == 1 ? snprintf(place, bytes, "%s", path)
                                   : snprintf(place, bytes, "%.*s-%05d-of-%05d.gguf", (int)stem,
                                              path, shard + 1, count);
    return written < (int)bytes
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "the path of the file for a model is too long");
}
