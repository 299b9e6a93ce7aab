/* Owns an opened GGUF file: the mapping, its pairs and its tensors. Promises that an opened file
 * has been checked whole (bounds, budgets, UTF-8, duplicates, tensor ranges), that a refusal names
 * offset and rule, and that time and memory are bounded by the size of the header whatever it
 * claims.
 */
#include "proto/model/gguf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/cursor.h"
#include "proto/model/ggml_type.h"
#include "proto/model/mapping.h"

enum {
    DEFAULT_ALIGNMENT = 32,
    PAIR_BYTES_MIN = 8 + 1 + 4 + 1,           /* key, type, value */
    TENSOR_BYTES_MIN = 8 + 1 + 4 + 8 + 4 + 8, /* name, dims_count, dims[1], type, offset */
    SENTENCE_BYTES = 640,
};

struct gguf {
    struct cursor cursor;   /* name is owned */
    struct mapping mapping; /* {0} for bytes that are borrowed */
    uint32_t version;
    struct gguf_pair *pairs;
    int pair_count;
    int *pair_order; /* indices of pairs, by key: for look-up and to find duplicates */
    struct gguf_tensor *tensors;
    int tensor_count;
    int *tensor_order; /* indices of tensors, by name */
    size_t data_offset;
    struct gguf *next; /* joined to it, owned */
};

static const struct {
    const char *name;
    size_t bytes; /* 0: not of fixed size */
} types[GGUF_TYPE_COUNT] = {
    [GGUF_U8] = {"u8", 1},       [GGUF_I8] = {"i8", 1},     [GGUF_U16] = {"u16", 2},
    [GGUF_I16] = {"i16", 2},     [GGUF_U32] = {"u32", 4},   [GGUF_I32] = {"i32", 4},
    [GGUF_F32] = {"f32", 4},     [GGUF_BOOL] = {"bool", 1}, [GGUF_STRING] = {"string", 0},
    [GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"u64", 8},   [GGUF_I64] = {"i64", 8},
    [GGUF_F64] = {"f64", 8},
};

const char *gguf_type_name(enum gguf_type type)
{
    assert(type < GGUF_TYPE_COUNT);
    return types[type].name;
}

enum status gguf_fail(const struct gguf *gguf, size_t offset, enum status status, const char *rule,
                      const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    return cursor_fail(&gguf->cursor, offset, status, rule, "%s", sentence);
}

enum status gguf_fail_tensor(const struct gguf_tensor *tensor, enum status status, const char *rule,
                             const char *format, ...)
{
    char sentence[SENTENCE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof sentence, format, arguments);
    va_end(arguments);
    const struct cursor part = {.name = tensor->file};
    return cursor_fail(&part, tensor->offset, status, rule, "%s", sentence);
}

static enum status read_string(struct cursor *cursor, struct text_view *string, uint64_t limit,
                               const char *what)
{
    uint64_t bytes;
    size_t start = cursor->offset;
    TRY(cursor_u64(cursor, &bytes, what));
    if (bytes > limit)
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "string-bytes",
                           "%s is %llu bytes long, at most %llu are allowed", what,
                           (unsigned long long)bytes, (unsigned long long)limit);
    const uint8_t *view = NULL;
    TRY(cursor_take(cursor, &view, bytes, what));
    if (!cursor_is_utf8(view, (size_t)bytes))
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "utf8", "%s is not UTF-8", what);
    *string = (struct text_view){(const char *)view, (size_t)bytes};
    return STATUS_OK;
}

/* A key or the name of a tensor: not empty, no control characters. */
static enum status read_name(struct cursor *cursor, struct text_view *name, uint64_t limit,
                             const char *what)
{
    size_t start = cursor->offset;
    TRY(read_string(cursor, name, limit, what));
    if (name->bytes == 0)
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "name-empty", "%s is empty", what);
    for (size_t i = 0; i < name->bytes; i++)
        if ((unsigned char)name->text[i] < 0x20 || name->text[i] == 0x7f)
            return cursor_fail(cursor, start, STATUS_DATA_LOSS, "name-characters",
                               "%s has a control character in it", what);
    return STATUS_OK;
}

static enum status check_bools(const struct cursor *cursor, const uint8_t *data, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        if (data[i] > 1)
            return cursor_fail(cursor, (size_t)(data - cursor->data) + (size_t)i, STATUS_DATA_LOSS,
                               "bool", "a bool is %d, neither 0 nor 1", data[i]);
    return STATUS_OK;
}

static enum status read_type(struct cursor *cursor, enum gguf_type *type, const char *what)
{
    uint32_t number;
    size_t start = cursor->offset;
    TRY(cursor_u32(cursor, &number, what));
    if (number >= GGUF_TYPE_COUNT)
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "value-type",
                           "%s is %u, the last known type is %d", what, number,
                           GGUF_TYPE_COUNT - 1);
    *type = (enum gguf_type)number;
    return STATUS_OK;
}

static enum status read_array(struct cursor *cursor, struct gguf_array *array)
{
    size_t start = cursor->offset;
    uint64_t count;
    TRY(read_type(cursor, &array->type, "an array's element type"));
    TRY(cursor_u64(cursor, &count, "an array's length"));
    if (array->type == GGUF_ARRAY)
        return cursor_fail(cursor, start, STATUS_UNIMPLEMENTED, "array-nested",
                           "an array of arrays is not supported");
    size_t least = array->type == GGUF_STRING ? 8 : types[array->type].bytes;
    if (count > GGUF_ARRAY_ELEMENTS_MAX || count > cursor_left(cursor) / least)
        return cursor_fail(cursor, start, STATUS_DATA_LOSS, "array-length",
                           "an array of %llu %s elements: at most %d are allowed and %zu bytes "
                           "are left",
                           (unsigned long long)count, types[array->type].name,
                           GGUF_ARRAY_ELEMENTS_MAX, cursor_left(cursor));
    array->count = (int64_t)count;
    array->data = cursor->data + cursor->offset;
    if (array->type == GGUF_STRING) {
        struct text_view element;
        for (uint64_t i = 0; i < count; i++)
            TRY(read_string(cursor, &element, GGUF_STRING_BYTES_MAX, "an array's string"));
        return STATUS_OK;
    }
    const uint8_t *data;
    TRY(cursor_take(cursor, &data, count * least, "an array"));
    return array->type == GGUF_BOOL ? check_bools(cursor, data, count) : STATUS_OK;
}

static enum status read_pair(struct cursor *cursor, struct gguf_pair *pair)
{
    TRY(read_name(cursor, &pair->key, GGUF_KEY_BYTES_MAX, "a key"));
    TRY(read_type(cursor, &pair->type, "a value's type"));
    pair->offset = cursor->offset;
    pair->value = cursor->data + cursor->offset;
    if (pair->type == GGUF_ARRAY)
        return read_array(cursor, &pair->array);
    if (pair->type == GGUF_STRING) {
        struct text_view text;
        return read_string(cursor, &text, GGUF_STRING_BYTES_MAX, "a value");
    }
    TRY(cursor_take(cursor, &pair->value, types[pair->type].bytes, "a value"));
    return pair->type == GGUF_BOOL ? check_bools(cursor, pair->value, 1) : STATUS_OK;
}

static enum status read_tensor(struct cursor *cursor, struct gguf_tensor *tensor, uint64_t *offset)
{
    tensor->offset = cursor->offset;
    TRY(read_name(cursor, &tensor->name, GGUF_NAME_BYTES_MAX, "a tensor's name"));
    uint32_t dims_count;
    size_t at = cursor->offset;
    TRY(cursor_u32(cursor, &dims_count, "a tensor's number of dimensions"));
    if (dims_count < 1 || dims_count > GGUF_DIMS_MAX)
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "dimensions",
                           "tensor %.*s has %u dimensions, 1 to %d are allowed",
                           (int)tensor->name.bytes, tensor->name.text, dims_count, GGUF_DIMS_MAX);
    tensor->dims_count = (int)dims_count;
    for (uint32_t i = 0; i < GGUF_DIMS_MAX; i++) {
        uint64_t dim = 1;
        at = cursor->offset;
        if (i < dims_count)
            TRY(cursor_u64(cursor, &dim, "a tensor's dimension"));
        if (dim < 1 || dim > INT64_MAX)
            return cursor_fail(cursor, at, STATUS_DATA_LOSS, "dimension",
                               "tensor %.*s has a dimension of %llu", (int)tensor->name.bytes,
                               tensor->name.text, (unsigned long long)dim);
        tensor->dims[i] = (int64_t)dim;
    }
    uint32_t type;
    at = cursor->offset;
    TRY(cursor_u32(cursor, &type, "a tensor's type"));
    if (type > INT32_MAX || !ggml_type_name((int)type))
        return cursor_fail(cursor, at, STATUS_UNIMPLEMENTED, "tensor-type",
                           "tensor %.*s has type number %u, which names no known type",
                           (int)tensor->name.bytes, tensor->name.text, type);
    tensor->type = (int)type;
    return cursor_u64(cursor, offset, "a tensor's offset");
}

/* Places a tensor at `*expected`, where the one before it ended, and moves that on to its own
 * padded end. */
static enum status place_tensor(struct gguf *gguf, struct gguf_tensor *tensor, uint64_t offset,
                                uint64_t alignment, uint64_t *expected)
{
    int64_t rows = 1;
    bool overflow = false;
    for (int i = 1; i < GGUF_DIMS_MAX; i++)
        overflow |= __builtin_mul_overflow(rows, tensor->dims[i], &rows);
    if (tensor->dims[0] % ggml_type_block_elements(tensor->type) != 0)
        return gguf_fail(gguf, tensor->offset, STATUS_DATA_LOSS, "row-blocks",
                         "tensor %.*s: a row of %lld values does not fill whole %s blocks of %d",
                         (int)tensor->name.bytes, tensor->name.text, (long long)tensor->dims[0],
                         ggml_type_name(tensor->type), ggml_type_block_elements(tensor->type));
    size_t row_bytes = ggml_type_row_bytes(tensor->type, tensor->dims[0]);
    uint64_t end;
    overflow |= row_bytes == 0 || __builtin_mul_overflow(row_bytes, (size_t)rows, &tensor->bytes) ||
                __builtin_add_overflow(*expected, tensor->bytes + (alignment - 1), &end) ||
                tensor->bytes > SIZE_MAX / 2;
    if (overflow)
        return gguf_fail(gguf, tensor->offset, STATUS_DATA_LOSS, "tensor-size",
                         "tensor %.*s: the size overflows", (int)tensor->name.bytes,
                         tensor->name.text);
    if (offset != *expected)
        return gguf_fail(gguf, tensor->offset, STATUS_DATA_LOSS, "tensor-offset",
                         "tensor %.*s lies at %llu of the data, the tensors before it end at %llu",
                         (int)tensor->name.bytes, tensor->name.text, (unsigned long long)offset,
                         (unsigned long long)*expected);
    size_t available = gguf->cursor.bytes - gguf->data_offset;
    if (offset > available || tensor->bytes > available - offset)
        return gguf_fail(gguf, tensor->offset, STATUS_DATA_LOSS, "truncated",
                         "tensor %.*s needs %zu bytes at %llu of the data, which has %zu",
                         (int)tensor->name.bytes, tensor->name.text, tensor->bytes,
                         (unsigned long long)offset, available);
    tensor->data = gguf->cursor.data + gguf->data_offset + offset;
    *expected = end / alignment * alignment;
    return STATUS_OK;
}

static int compare_pairs(const void *a, const void *b, void *pairs)
{
    const struct gguf_pair *all = pairs;
    return text_view_compare(all[*(const int *)a].key, all[*(const int *)b].key);
}

static int compare_tensors(const void *a, const void *b, void *tensors)
{
    const struct gguf_tensor *all = tensors;
    return text_view_compare(all[*(const int *)a].name, all[*(const int *)b].name);
}

/* Sorting, unlike a hash table, has no bad case that a file could bring about. */
static enum status sort_order(int **order, int count, int (*by)(const void *, const void *, void *),
                              void *items)
{
    *order = calloc((size_t)count + 1, sizeof **order);
    if (!*order)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to index %d entries of a model file",
                    count);
    for (int i = 0; i < count; i++)
        (*order)[i] = i;
    qsort_r(*order, (size_t)count, sizeof **order, by, items);
    return STATUS_OK;
}

static enum status read_header(struct gguf *gguf, uint64_t *tensor_count, uint64_t *pair_count)
{
    struct cursor *cursor = &gguf->cursor;
    const uint8_t *magic;
    TRY(cursor_take(cursor, &magic, 4, "the magic number"));
    if (memcmp(magic, "GGUF", 4) != 0)
        return cursor_fail(cursor, 0, STATUS_DATA_LOSS, "magic", "this is not a GGUF file");
    TRY(cursor_u32(cursor, &gguf->version, "the version"));
    if (gguf->version == 0x03000000 || gguf->version == 0x02000000)
        return cursor_fail(cursor, 4, STATUS_UNIMPLEMENTED, "byte-order",
                           "a big-endian file is not supported; convert it to little-endian");
    if (gguf->version != 2 && gguf->version != 3)
        return cursor_fail(cursor, 4, STATUS_UNIMPLEMENTED, "version",
                           "GGUF version %u is not supported, 2 and 3 are", gguf->version);
    TRY(cursor_u64(cursor, tensor_count, "the number of tensors"));
    if (*tensor_count > GGUF_TENSORS_MAX || *tensor_count > cursor_left(cursor) / TENSOR_BYTES_MIN)
        return cursor_fail(cursor, 8, STATUS_DATA_LOSS, "tensor-count",
                           "%llu tensors: at most %d are allowed and %zu bytes are left",
                           (unsigned long long)*tensor_count, GGUF_TENSORS_MAX,
                           cursor_left(cursor));
    TRY(cursor_u64(cursor, pair_count, "the number of keys"));
    if (*pair_count > GGUF_PAIRS_MAX || *pair_count > cursor_left(cursor) / PAIR_BYTES_MIN)
        return cursor_fail(cursor, 16, STATUS_DATA_LOSS, "key-count",
                           "%llu keys: at most %d are allowed and %zu bytes are left",
                           (unsigned long long)*pair_count, GGUF_PAIRS_MAX, cursor_left(cursor));
    return STATUS_OK;
}

static enum status read_pairs(struct gguf *gguf, uint64_t count)
{
    gguf->pairs = calloc((size_t)count + 1, sizeof *gguf->pairs);
    if (!gguf->pairs)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the keys of %s", gguf->cursor.name);
    for (uint64_t i = 0; i < count; i++) {
        struct gguf_pair *pair = &gguf->pairs[i];
        TRY(read_pair(&gguf->cursor, pair));
        pair->bytes = gguf->cursor.offset - pair->offset;
        if (gguf->cursor.offset > GGUF_HEADER_BYTES_MAX)
            return gguf_fail(gguf, gguf->cursor.offset, STATUS_DATA_LOSS, "header-bytes",
                             "the header is longer than %d bytes", GGUF_HEADER_BYTES_MAX);
    }
    gguf->pair_count = (int)count;
    TRY(sort_order(&gguf->pair_order, gguf->pair_count, compare_pairs, gguf->pairs));
    for (int i = 1; i < gguf->pair_count; i++) {
        const struct gguf_pair *pair = &gguf->pairs[gguf->pair_order[i]];
        if (text_view_compare(pair->key, gguf->pairs[gguf->pair_order[i - 1]].key) == 0)
            return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "key-twice",
                             "key %.*s is there twice", (int)pair->key.bytes, pair->key.text);
    }
    return STATUS_OK;
}

static enum status read_alignment(const struct gguf *gguf, uint64_t *alignment)
{
    const struct gguf_pair *pair = gguf_find_pair(gguf, "general.alignment");
    *alignment = DEFAULT_ALIGNMENT;
    if (!pair)
        return STATUS_OK;
    if (pair->type != GGUF_U32)
        return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "alignment",
                         "general.alignment is of type %s, it must be u32", types[pair->type].name);
    uint32_t value = 0;
    for (int i = 3; i >= 0; i--)
        value = value << 8 | pair->value[i];
    if (value < 8 || (value & (value - 1)) != 0)
        return gguf_fail(gguf, pair->offset, STATUS_DATA_LOSS, "alignment",
                         "general.alignment is %u, it must be a power of two and at least 8",
                         value);
    *alignment = value;
    return STATUS_OK;
}

static enum status check_tensor_names(struct gguf *gguf)
{
    TRY(sort_order(&gguf->tensor_order, gguf->tensor_count, compare_tensors, gguf->tensors));
    for (int i = 1; i < gguf->tensor_count; i++) {
        const struct gguf_tensor *tensor = &gguf->tensors[gguf->tensor_order[i]];
        if (text_view_compare(tensor->name, gguf->tensors[gguf->tensor_order[i - 1]].name) == 0)
            return gguf_fail_tensor(tensor, STATUS_DATA_LOSS, "tensor-twice",
                                    "tensor %.*s is there twice", (int)tensor->name.bytes,
                                    tensor->name.text);
    }
    return STATUS_OK;
}

static enum status place_tensors(struct gguf *gguf, const uint64_t *offsets)
{
    uint64_t alignment;
    TRY(read_alignment(gguf, &alignment));
    size_t header = gguf->cursor.offset;
    gguf->data_offset = (header + (alignment - 1)) / alignment * alignment;
    if (gguf->data_offset > gguf->cursor.bytes) {
        if (gguf->tensor_count > 0)
            return gguf_fail(gguf, header, STATUS_DATA_LOSS, "truncated",
                             "the file ends before the data, which begin at %zu",
                             gguf->data_offset);
        gguf->data_offset = gguf->cursor.bytes; /* no data, and no padding before them */
    }
    uint64_t end = 0;
    for (int i = 0; i < gguf->tensor_count; i++)
        TRY(place_tensor(gguf, &gguf->tensors[i], offsets[i], alignment, &end));
    size_t left = gguf->cursor.bytes - gguf->data_offset;
    if (left > end)
        return gguf_fail(gguf, gguf->data_offset + (size_t)end, STATUS_DATA_LOSS, "trailing-bytes",
                         "%zu bytes follow the last tensor", left - (size_t)end);
    return STATUS_OK;
}

static enum status read_tensors(struct gguf *gguf, uint64_t count)
{
    enum status status;
    uint64_t *offsets = calloc((size_t)count + 1, sizeof *offsets);
    gguf->tensors = calloc((size_t)count + 1, sizeof *gguf->tensors);
    if (!offsets || !gguf->tensors) {
        status =
            fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %s", gguf->cursor.name);
        goto free_offsets;
    }
    for (uint64_t i = 0; i < count; i++) {
        TRY_ELSE(read_tensor(&gguf->cursor, &gguf->tensors[i], &offsets[i]), free_offsets);
        gguf->tensors[i].file = gguf->cursor.name;
    }
    gguf->tensor_count = (int)count;
    TRY_ELSE(check_tensor_names(gguf), free_offsets);
    status = place_tensors(gguf, offsets);
free_offsets:
    free(offsets);
    return status;
}

static enum status read_all(struct gguf *gguf)
{
    uint64_t tensor_count;
    uint64_t pair_count;
    TRY(read_header(gguf, &tensor_count, &pair_count));
    TRY(read_pairs(gguf, pair_count));
    return read_tensors(gguf, tensor_count);
}

enum status gguf_parse(struct gguf **gguf, const void *data, size_t bytes, const char *name)
{
    enum status status;
    struct gguf *parsed = calloc(1, sizeof *parsed);
    char *name_copy = strdup(name);
    if (!parsed || !name_copy) {
        free(name_copy);
        free(parsed);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", name);
    }
    parsed->cursor = (struct cursor){.data = data, .bytes = bytes, .name = name_copy};
    TRY_ELSE(read_all(parsed), close_gguf);
    *gguf = parsed;
    return STATUS_OK;
close_gguf:
    gguf_close(parsed);
    return status;
}

enum status gguf_open(struct gguf **gguf, const char *path)
{
    struct mapping mapping;
    TRY(mapping_open(&mapping, path));
    struct gguf *opened;
    enum status status = gguf_parse(&opened, mapping.data, mapping.bytes, path);
    if (status != STATUS_OK) {
        mapping_close(&mapping);
        return status;
    }
    opened->mapping = mapping;
    *gguf = opened;
    return STATUS_OK;
}

/* Behind the last one, so that it is closed with the others whatever happens. */
static void append_part(struct gguf *gguf, struct gguf *part)
{
    while (gguf->next)
        gguf = gguf->next;
    gguf->next = part;
}

enum status gguf_join(struct gguf *gguf, struct gguf *part)
{
    const size_t own = (size_t)gguf->tensor_count, more = (size_t)part->tensor_count;
    append_part(gguf, part);
    if (own + more > GGUF_TENSORS_MAX)
        return fail(STATUS_DATA_LOSS, "%s: %zu tensors in all parts; at most %d are allowed",
                    part->cursor.name, own + more, GGUF_TENSORS_MAX);
    struct gguf_tensor *tensors = realloc(gguf->tensors, (own + more + 1) * sizeof *tensors);
    if (!tensors)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %s",
                    gguf->cursor.name);
    gguf->tensors = tensors;
    if (more > 0)
        memcpy(tensors + own, part->tensors, more * sizeof *tensors);
    gguf->tensor_count = (int)(own + more);
    free(gguf->tensor_order);
    gguf->tensor_order = NULL;
    return check_tensor_names(gguf);
}

void gguf_close(struct gguf *gguf)
{
    if (!gguf)
        return;
    gguf_close(gguf->next);
    mapping_close(&gguf->mapping);
    free(gguf->pairs);
    free(gguf->pair_order);
    free(gguf->tensors);
    free(gguf->tensor_order);
    free((void *)gguf->cursor.name);
    free(gguf);
}

const char *gguf_name(const struct gguf *gguf)
{
    return gguf->cursor.name;
}

const void *gguf_data(const struct gguf *gguf, size_t *bytes)
{
    *bytes = gguf->cursor.bytes;
    return gguf->cursor.data;
}

int gguf_part_count(const struct gguf *gguf)
{
    int count = 0;
    for (; gguf; gguf = gguf->next)
        count++;
    return count;
}

const struct gguf *gguf_part(const struct gguf *gguf, int index)
{
    for (; index > 0; index--)
        gguf = gguf->next;
    return gguf;
}

int gguf_version(const struct gguf *gguf)
{
    return (int)gguf->version;
}

int gguf_pair_count(const struct gguf *gguf)
{
    return gguf->pair_count;
}

const struct gguf_pair *gguf_pair(const struct gguf *gguf, int index)
{
    assert(index >= 0 && index < gguf->pair_count);
    return &gguf->pairs[index];
}

int gguf_tensor_count(const struct gguf *gguf)
{
    return gguf->tensor_count;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *gguf, int index)
{
    assert(index >= 0 && index < gguf->tensor_count);
    return &gguf->tensors[index];
}

const struct gguf_pair *gguf_find_pair(const struct gguf *gguf, const char *key)
{
    struct text_view wanted = text_view_of(key);
    int first = 0;
    int end = gguf->pair_count;
    while (first < end) {
        int middle = first + (end - first) / 2;
        const struct gguf_pair *pair = &gguf->pairs[gguf->pair_order[middle]];
        int order = text_view_compare(wanted, pair->key);
        if (order == 0)
            return pair;
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return NULL;
}

int gguf_find_tensor(const struct gguf *gguf, const char *name)
{
    struct text_view wanted = text_view_of(name);
    int first = 0;
    int end = gguf->tensor_count;
    while (first < end) {
        int middle = first + (end - first) / 2;
        int order = text_view_compare(wanted, gguf->tensors[gguf->tensor_order[middle]].name);
        if (order == 0)
            return gguf->tensor_order[middle];
        if (order < 0)
            end = middle;
        else
            first = middle + 1;
    }
    return -1;
}
