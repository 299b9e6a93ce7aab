/* Owns the reading of a sharded model's index. Promises names of files that stay inside the model's
 * directory, and a place for every tensor. */
#include "proto/model/shard_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/json_place.h"

struct shard_index {
    json_t *root;
    struct json_place place;
    struct json_place map;
    const char **files; /* [file_count], sorted; they live in root */
    int file_count;
};

static enum status check_file_name(const struct json_place *map, const char *tensor,
                                   const json_t *value)
{
    static const char end[] = ".safetensors";
    const char *name = json_string_value(value);
    size_t bytes = name ? strlen(name) : 0;
    bool plain = bytes > strlen(end) && bytes <= 255 && name[0] != '.' && !strchr(name, '/') &&
                 strcmp(name + bytes - strlen(end), end) == 0;
    for (size_t i = 0; i < bytes; i++)
        plain &= (unsigned char)name[i] >= 0x20 && name[i] != 0x7f;
    if (!plain)
        return json_place_fail(map, tensor, STATUS_DATA_LOSS, "file-name",
                               "must name a .safetensors file in the same directory, not \"%.64s\"",
                               name ? name : "(no string)");
    return STATUS_OK;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* One name for each tensor, sorted, then each once. */
static enum status list_files(struct shard_index *index)
{
    size_t entries = json_object_size(index->map.json);
    const char *tensor;
    json_t *value;
    if (entries == 0)
        return json_place_fail(&index->map, NULL, STATUS_DATA_LOSS, "weight-map", "is empty");
    index->files = calloc(entries, sizeof(*index->files));
    if (!index->files)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an index of %zu tensors", entries);
    size_t count = 0;
    json_object_foreach((json_t *)index->map.json, tensor, value)
    {
        TRY(check_file_name(&index->map, tensor, value));
        index->files[count++] = json_string_value(value);
    }
    qsort(index->files, entries, sizeof(*index->files), compare_texts);
    count = 1;
    for (size_t i = 1; i < entries; i++)
        if (strcmp(index->files[i], index->files[count - 1]) != 0)
            index->files[count++] = index->files[i];
    if (count > SHARD_INDEX_FILES_MAX)
        return json_place_fail(&index->map, NULL, STATUS_DATA_LOSS, "file-count",
                               "names %zu files; at most %d are allowed", count,
                               SHARD_INDEX_FILES_MAX);
    index->file_count = (int)count;
    return STATUS_OK;
}

enum status shard_index_parse(struct shard_index **index, const void *data, size_t bytes,
                              const char *name)
{
    enum status status;
    struct shard_index *parsed = calloc(1, sizeof *parsed);
    if (!parsed)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", name);
    TRY_ELSE(json_place_parse(&parsed->root, data, bytes, SHARD_INDEX_BYTES_MAX, name), close);
    parsed->place = json_place_root(parsed->root, name);
    TRY_ELSE(json_place_object(&parsed->place, &parsed->map, "weight_map"), close);
    TRY_ELSE(list_files(parsed), close);
    *index = parsed;
    return STATUS_OK;
close:
    shard_index_close(parsed);
    return status;
}

void shard_index_close(struct shard_index *index)
{
    if (!index)
        return;
    free(index->files);
    json_decref(index->root);
    free(index);
}

int shard_index_file_count(const struct shard_index *index)
{
    return index->file_count;
}

const char *shard_index_file(const struct shard_index *index, int file)
{
    assert(file >= 0 && file < index->file_count);
    return index->files[file];
}

enum status shard_index_check_file(const struct shard_index *index, int file,
                                   const struct checkpoint_tensor *tensors, int count)
{
    const char *name = shard_index_file(index, file);
    const char *tensor;
    json_t *value;
    int placed = 0;
    for (int i = 0; i < count; i++) {
        const char *place =
            json_string_value(json_object_get(index->map.json, tensors[i].name.text));
        if (!place || strcmp(place, name) != 0)
            return json_place_fail(&index->map, tensors[i].name.text, STATUS_DATA_LOSS,
                                   "weight-map", "lies in %s, the index says %s", name,
                                   place ? place : "nothing of it");
    }
    json_object_foreach((json_t *)index->map.json, tensor, value)
    {
        placed += strcmp(json_string_value(value), name) == 0;
    }
    if (placed != count)
        return json_place_fail(&index->map, NULL, STATUS_DATA_LOSS, "weight-map",
                               "places %d tensors in %s, which has %d", placed, name, count);
    return STATUS_OK;
}

bool shard_index_total_differs(const struct shard_index *index, double *stated, uint64_t bytes)
{
    const json_t *metadata = json_place_get(&index->place, "metadata");
    const json_t *total = json_object_get(metadata, "total_size");
    if (!json_is_number(total) || json_number_value(total) == (double)bytes)
        return false;
    *stated = json_number_value(total);
    return true;
}
