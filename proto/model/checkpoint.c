/* Owns an opened checkpoint: its file or directory, the list of its tensors and their index by
 * name. Promises one form of tensor for every format. */
#include "proto/model/checkpoint.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/model/cursor.h"
#include "proto/model/directory.h"
#include "proto/model/ggml_type.h"
#include "proto/model/gguf.h"
#include "proto/model/gguf_split.h"

enum { SENTENCE_BYTES = 640 };

_Static_assert((int)CHECKPOINT_DIMS_MAX == (int)GGUF_DIMS_MAX, "every GGUF tensor has a place");

struct checkpoint {
    char *name;
    struct gguf *gguf;
    struct directory *directory;
    struct checkpoint_listing listing;
    int *order; /* indices of tensors, by name */
};

enum status checkpoint_fail(const struct checkpoint_tensor *tensor, enum status status,
                            const char *rule, const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    const struct cursor place = {.name = tensor->file};
    return cursor_fail(&place, tensor->offset, status, rule, "%s", sentence);
}

static const char *without_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static struct checkpoint_tensor from_gguf(const struct gguf_tensor *tensor)
{
    struct checkpoint_tensor same = {
        .name = tensor->name,
        .dims_count = tensor->dims_count,
        .dims = {1, 1, 1, 1},
        .type = ggml_type_name(tensor->type),
        .dtype = DTYPE_COUNT,
        .data = tensor->data,
        .bytes = tensor->bytes,
        .file = tensor->file,
        .offset = tensor->offset,
    };
    for (int d = 0; d < tensor->dims_count; d++)
        same.dims[d] = tensor->dims[tensor->dims_count - 1 - d];
    ggml_type_dtype(&same.dtype, tensor->type);
    return same;
}

static enum status list_gguf(struct checkpoint_listing *listing, const struct gguf *gguf)
{
    int count = gguf_tensor_count(gguf);
    const int parts = gguf_part_count(gguf);
    struct checkpoint_file *file = calloc((size_t)parts, sizeof *file);
    struct checkpoint_tensor *tensors = calloc((size_t)count + 1, sizeof *tensors);
    if (!file || !tensors) {
        free(file);
        free(tensors);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %s", gguf_name(gguf));
    }
    for (int part = 0; part < parts; part++) {
        file[part].name = without_folder(gguf_name(gguf_part(gguf, part)));
        file[part].data = gguf_data(gguf_part(gguf, part), &file[part].bytes);
    }
    for (int i = 0; i < count; i++)
        tensors[i] = from_gguf(gguf_tensor(gguf, i));
    *listing = (struct checkpoint_listing){file, parts, tensors, count};
    return STATUS_OK;
}

static int compare_names(const void *a, const void *b, void *tensors)
{
    const struct checkpoint_tensor *all = tensors;
    return text_view_compare(all[*(const int *)a].name, all[*(const int *)b].name);
}

static enum status index_tensors(struct checkpoint *checkpoint)
{
    size_t count = (size_t)checkpoint->listing.tensor_count;
    checkpoint->order = calloc(count + 1, sizeof *checkpoint->order);
    if (!checkpoint->order)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to index %zu tensors", count);
    for (size_t i = 0; i < count; i++)
        checkpoint->order[i] = (int)i;
    qsort_r(checkpoint->order, count, sizeof *checkpoint->order, compare_names,
            checkpoint->listing.tensors);
    return STATUS_OK;
}

bool checkpoint_is_directory(const char *path)
{
    struct stat facts;
    return stat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
}

static bool ends_in(const char *path, const char *end)
{
    size_t bytes = strlen(path);
    return bytes >= strlen(end) && strcmp(path + bytes - strlen(end), end) == 0;
}

enum status checkpoint_check_file_name(const char *path)
{
    if (ends_in(path, ".safetensors") || ends_in(path, ".json"))
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s is one file of a model; give the directory that it lies in, with "
                    "config.json and tokenizer.json beside it",
                    path);
    return STATUS_OK;
}

static enum status open_format(struct checkpoint *checkpoint, const char *path)
{
    if (checkpoint_is_directory(path))
        return directory_open(&checkpoint->directory, &checkpoint->listing, path);
    TRY(checkpoint_check_file_name(path));
    TRY(gguf_split_open(&checkpoint->gguf, path));
    return list_gguf(&checkpoint->listing, checkpoint->gguf);
}

static enum status parse_format(struct checkpoint *checkpoint, const void *data, size_t bytes)
{
    TRY(gguf_parse(&checkpoint->gguf, data, bytes, checkpoint->name));
    return list_gguf(&checkpoint->listing, checkpoint->gguf);
}

/* `data` NULL: from disk. */
static enum status create(struct checkpoint **checkpoint, const char *name, const void *data,
                          size_t bytes)
{
    enum status status;
    struct checkpoint *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", name);
    created->name = strdup(name);
    if (!created->name) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", name);
        goto close_checkpoint;
    }
    TRY_ELSE(data ? parse_format(created, data, bytes) : open_format(created, name),
             close_checkpoint);
    TRY_ELSE(index_tensors(created), close_checkpoint);
    *checkpoint = created;
    return STATUS_OK;
close_checkpoint:
    checkpoint_close(created);
    return status;
}

enum status checkpoint_open(struct checkpoint **checkpoint, const char *path)
{
    return create(checkpoint, path, NULL, 0);
}

enum status checkpoint_parse(struct checkpoint **checkpoint, const void *data, size_t bytes,
                             const char *name)
{
    return create(checkpoint, name, data ? data : "", bytes);
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (!checkpoint)
        return;
    free(checkpoint->order);
    free(checkpoint->listing.files);
    free(checkpoint->listing.tensors);
    directory_close(checkpoint->directory);
    gguf_close(checkpoint->gguf);
    free(checkpoint->name);
    free(checkpoint);
}

const char *checkpoint_name(const struct checkpoint *checkpoint)
{
    return checkpoint->name;
}

const struct gguf *checkpoint_gguf(const struct checkpoint *checkpoint)
{
    return checkpoint->gguf;
}

const struct directory *checkpoint_directory(const struct checkpoint *checkpoint)
{
    return checkpoint->directory;
}

int checkpoint_file_count(const struct checkpoint *checkpoint)
{
    return checkpoint->listing.file_count;
}

const struct checkpoint_file *checkpoint_file(const struct checkpoint *checkpoint, int index)
{
    assert(index >= 0 && index < checkpoint->listing.file_count);
    return &checkpoint->listing.files[index];
}

uint64_t checkpoint_bytes(const struct checkpoint *checkpoint)
{
    uint64_t bytes = 0;
    for (int i = 0; i < checkpoint->listing.file_count; i++)
        bytes += checkpoint->listing.files[i].bytes;
    return bytes;
}

int checkpoint_tensor_count(const struct checkpoint *checkpoint)
{
    return checkpoint->listing.tensor_count;
}

const struct checkpoint_tensor *checkpoint_tensor(const struct checkpoint *checkpoint, int index)
{
    assert(index >= 0 && index < checkpoint->listing.tensor_count);
    return &checkpoint->listing.tensors[index];
}

uint64_t checkpoint_tensor_bytes(const struct checkpoint *checkpoint)
{
    uint64_t bytes = 0;
    for (int i = 0; i < checkpoint->listing.tensor_count; i++)
        bytes += checkpoint->listing.tensors[i].bytes;
    return bytes;
}

int checkpoint_find_tensor(const struct checkpoint *checkpoint, const char *name)
{
    struct text_view wanted = text_view_of(name);
    int first = 0;
    int end = checkpoint->listing.tensor_count;
    while (first < end) {
        int middle = first + (end - first) / 2;
        int index = checkpoint->order[middle];
        int order = text_view_compare(wanted, checkpoint->listing.tensors[index].name);
        if (order == 0)
            return index;
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return -1;
}
