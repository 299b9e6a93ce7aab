/* Owns an opened safetensors file: its header and the list of its tensors. Promises that an opened
 * file has been checked whole, that a refusal names the tensor and the rule, and that time and
 * memory are bounded by the size of the header whatever it claims. */
#include "proto/model/safetensors.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/cursor.h"
#include "proto/model/json_place.h"

struct safetensors {
    json_t *header; /* the tensors' names live in it */
    struct checkpoint_tensor *tensors;
    int count;
};

/* What a header's reading needs to know of the file. */
struct reading {
    struct json_place place;
    const uint8_t *data; /* behind the header */
    size_t data_bytes;
    size_t data_offset; /* in the file */
};

static const struct {
    const char *name;
    size_t bytes;
    enum dtype dtype;
} types[] = {
    {"F32", 4, DTYPE_F32},    {"F16", 2, DTYPE_F16},   {"BF16", 2, DTYPE_BF16},
    {"F64", 8, DTYPE_COUNT},  {"I64", 8, DTYPE_COUNT}, {"I32", 4, DTYPE_COUNT},
    {"I16", 2, DTYPE_COUNT},  {"I8", 1, DTYPE_COUNT},  {"U64", 8, DTYPE_COUNT},
    {"U32", 4, DTYPE_COUNT},  {"U16", 2, DTYPE_COUNT}, {"U8", 1, DTYPE_COUNT},
    {"BOOL", 1, DTYPE_COUNT},
};

enum { TYPE_COUNT = sizeof types / sizeof types[0] };

static enum status read_type(struct checkpoint_tensor *tensor, int *type,
                             const struct json_place *entry)
{
    struct text_view name;
    TRY(json_place_text(entry, &name, "dtype"));
    for (int i = 0; i < TYPE_COUNT; i++)
        if (text_view_is(name, types[i].name)) {
            tensor->type = types[i].name;
            tensor->dtype = types[i].dtype;
            *type = i;
            return STATUS_OK;
        }
    return json_place_fail(entry, "dtype", STATUS_UNIMPLEMENTED, "tensor-type",
                           "type %.*s is not supported; weights must be F32, F16 or BF16",
                           (int)(name.bytes < 64 ? name.bytes : 64), name.text);
}

/* Sets dims and the number of elements. */
static enum status read_shape(struct checkpoint_tensor *tensor, int64_t *elements,
                              const struct json_place *entry)
{
    const json_t *shape;
    TRY(json_place_array(entry, &shape, "shape"));
    if (json_array_size(shape) > CHECKPOINT_DIMS_MAX)
        return json_place_fail(entry, "shape", STATUS_UNIMPLEMENTED, "dimensions",
                               "has %zu dimensions; at most %d are supported",
                               json_array_size(shape), CHECKPOINT_DIMS_MAX);
    tensor->dims_count = (int)json_array_size(shape);
    *elements = 1;
    for (int d = 0; d < CHECKPOINT_DIMS_MAX; d++) {
        const json_t *dim = json_array_get(shape, (size_t)d); /* NULL past the end */
        tensor->dims[d] = dim ? json_integer_value(dim) : 1;
        if ((dim && !json_is_integer(dim)) || tensor->dims[d] < 0)
            return json_place_fail(entry, "shape", STATUS_DATA_LOSS, "dimension",
                                   "dimension %d is no integer from 0 on", d);
        if (__builtin_mul_overflow(*elements, tensor->dims[d], elements))
            return json_place_fail(entry, "shape", STATUS_DATA_LOSS, "tensor-size",
                                   "the size overflows");
    }
    return STATUS_OK;
}

static enum status read_offsets(uint64_t *begin, uint64_t *end, const struct json_place *entry)
{
    const json_t *offsets;
    TRY(json_place_array(entry, &offsets, "data_offsets"));
    const json_t *first = json_array_get(offsets, 0);
    const json_t *last = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last) ||
        json_integer_value(first) < 0 || json_integer_value(last) < json_integer_value(first))
        return json_place_fail(entry, "data_offsets", STATUS_DATA_LOSS, "data-offsets",
                               "must be two integers, 0 <= begin <= end");
    *begin = (uint64_t)json_integer_value(first);
    *end = (uint64_t)json_integer_value(last);
    return STATUS_OK;
}

static enum status read_tensor(struct checkpoint_tensor *tensor, const struct reading *reading,
                               const char *name)
{
    struct json_place entry;
    int type = 0;
    int64_t elements = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    size_t bytes;
    size_t name_bytes = strlen(name);
    if (name_bytes == 0 || name_bytes > SAFETENSORS_NAME_BYTES_MAX)
        return json_place_fail(&reading->place, NULL, STATUS_DATA_LOSS, "name-bytes",
                               "a tensor's name has %zu bytes; 1 to %d are allowed", name_bytes,
                               SAFETENSORS_NAME_BYTES_MAX);
    for (size_t i = 0; i < name_bytes; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f)
            return json_place_fail(&reading->place, name, STATUS_DATA_LOSS, "name-characters",
                                   "a tensor's name has a control character in it");
    TRY(json_place_object(&reading->place, &entry, name));
    TRY(read_type(tensor, &type, &entry));
    TRY(read_shape(tensor, &elements, &entry));
    TRY(read_offsets(&begin, &end, &entry));
    if (json_object_size(entry.json) != 3)
        return json_place_fail(&entry, NULL, STATUS_DATA_LOSS, "tensor-keys",
                               "has keys beside dtype, shape and data_offsets");
    if (__builtin_mul_overflow((size_t)elements, types[type].bytes, &bytes) || bytes != end - begin)
        return json_place_fail(&entry, "data_offsets", STATUS_DATA_LOSS, "tensor-size",
                               "has %llu bytes, which %lld values of type %s do not take",
                               (unsigned long long)(end - begin), (long long)elements,
                               types[type].name);
    if (end > reading->data_bytes)
        return json_place_fail(&entry, "data_offsets", STATUS_DATA_LOSS, "truncated",
                               "ends at %llu of the data, which has %zu bytes",
                               (unsigned long long)end, reading->data_bytes);
    tensor->name = (struct text_view){name, name_bytes};
    tensor->data = reading->data + begin;
    tensor->bytes = bytes;
    tensor->file = reading->place.file;
    tensor->offset = reading->data_offset + (size_t)begin;
    return STATUS_OK;
}

static enum status check_metadata(const struct json_place *place)
{
    struct json_place metadata;
    const char *key;
    json_t *value;
    if (!json_place_get(place, "__metadata__"))
        return STATUS_OK;
    TRY(json_place_object(place, &metadata, "__metadata__"));
    json_object_foreach((json_t *)metadata.json, key, value)
    {
        if (!json_is_string(value))
            return json_place_fail(&metadata, key, STATUS_DATA_LOSS, "metadata", "is no string");
    }
    return STATUS_OK;
}

static int compare_places(const void *a, const void *b)
{
    const struct checkpoint_tensor *left = a;
    const struct checkpoint_tensor *right = b;
    if (left->offset != right->offset)
        return left->offset < right->offset ? -1 : 1;
    return (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

/* Side by side, from the first byte of the data to the last. */
static enum status check_cover(const struct safetensors *safetensors, const struct reading *reading)
{
    size_t expected = reading->data_offset;
    for (int i = 0; i < safetensors->count; i++) {
        const struct checkpoint_tensor *tensor = &safetensors->tensors[i];
        if (tensor->offset != expected)
            return json_place_fail(&reading->place, tensor->name.text, STATUS_DATA_LOSS,
                                   tensor->offset < expected ? "overlap" : "hole",
                                   "begins at %zu of the data, the tensors before it end at %zu",
                                   tensor->offset - reading->data_offset,
                                   expected - reading->data_offset);
        expected += tensor->bytes;
    }
    size_t covered = expected - reading->data_offset;
    if (covered != reading->data_bytes)
        return json_place_fail(&reading->place, NULL, STATUS_DATA_LOSS, "trailing-bytes",
                               "%zu bytes follow the last tensor", reading->data_bytes - covered);
    return STATUS_OK;
}

static enum status read_header(struct safetensors *safetensors, const struct reading *reading)
{
    size_t entries = json_object_size(safetensors->header);
    const char *name;
    json_t *entry;
    if (entries > SAFETENSORS_TENSORS_MAX)
        return json_place_fail(&reading->place, NULL, STATUS_DATA_LOSS, "tensor-count",
                               "%zu tensors; at most %d are allowed", entries,
                               SAFETENSORS_TENSORS_MAX);
    safetensors->tensors = calloc(entries + 1, sizeof *safetensors->tensors);
    if (!safetensors->tensors)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %s",
                    reading->place.file);
    json_object_foreach(safetensors->header, name, entry)
    {
        if (strcmp(name, "__metadata__") == 0)
            TRY(check_metadata(&reading->place));
        else
            TRY(read_tensor(&safetensors->tensors[safetensors->count++], reading, name));
    }
    qsort(safetensors->tensors, (size_t)safetensors->count, sizeof *safetensors->tensors,
          compare_places);
    return check_cover(safetensors, reading);
}

static enum status read_file(struct safetensors *safetensors, struct cursor *cursor)
{
    uint64_t header_bytes;
    const uint8_t *header;
    TRY(cursor_u64(cursor, &header_bytes, "the header's length"));
    if (header_bytes > SAFETENSORS_HEADER_BYTES_MAX)
        return cursor_fail(cursor, 0, STATUS_DATA_LOSS, "header-bytes",
                           "a header of %llu bytes; at most %d are allowed",
                           (unsigned long long)header_bytes, SAFETENSORS_HEADER_BYTES_MAX);
    TRY(cursor_take(cursor, &header, header_bytes, "the header"));
    if (header_bytes == 0 || header[0] != '{')
        return cursor_fail(cursor, 8, STATUS_DATA_LOSS, "header",
                           "the header does not begin with {: this is not a safetensors file");
    TRY(json_place_parse(&safetensors->header, header, (size_t)header_bytes,
                         SAFETENSORS_HEADER_BYTES_MAX, cursor->name));
    const struct reading reading = {
        .place = json_place_root(safetensors->header, cursor->name),
        .data = cursor->data + cursor->offset,
        .data_bytes = cursor_left(cursor),
        .data_offset = cursor->offset,
    };
    return read_header(safetensors, &reading);
}

enum status safetensors_parse(struct safetensors **safetensors, const void *data, size_t bytes,
                              const char *name)
{
    struct cursor cursor = {.data = data, .bytes = bytes, .name = name};
    struct safetensors *parsed = calloc(1, sizeof *parsed);
    if (!parsed)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", name);
    enum status status = read_file(parsed, &cursor);
    if (status == STATUS_OK)
        *safetensors = parsed;
    else
        safetensors_close(parsed);
    return status;
}

void safetensors_close(struct safetensors *safetensors)
{
    if (!safetensors)
        return;
    free(safetensors->tensors);
    json_decref(safetensors->header);
    free(safetensors);
}

int safetensors_count(const struct safetensors *safetensors)
{
    return safetensors->count;
}

const struct checkpoint_tensor *safetensors_tensor(const struct safetensors *safetensors, int index)
{
    assert(index >= 0 && index < safetensors->count);
    return &safetensors->tensors[index];
}
