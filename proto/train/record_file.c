/* Owns the reading of records. Promises that no view leaves the file, whatever its index claims,
 * and that what is handed out is what was written. */
#include "proto/train/record_file.h"

#include <string.h>
#include <xxhash.h>

#include "proto/model/cursor.h"

enum { COUNT_MOST = INT32_MAX };

static struct cursor cursor_at(const struct record_file *file, size_t bytes, uint64_t offset)
{
    return (struct cursor){
        .data = file->data, .bytes = bytes, .offset = (size_t)offset, .name = file->name};
}

static enum status check_header(const struct record_file *file, size_t bytes)
{
    struct cursor cursor = cursor_at(file, bytes, 0);
    const uint8_t *magic = NULL;
    uint32_t version = 0, planes = 0;
    TRY(cursor_take(&cursor, &magic, 8, "the magic"));
    if (memcmp(magic, file->kind->magic, 8) != 0)
        return cursor_fail(&cursor, 0, STATUS_DATA_LOSS, "magic", "this is no \"%s\" file",
                           file->kind->magic);
    TRY(cursor_u32(&cursor, &version, "the version"));
    if (version != RECORD_FILE_VERSION)
        return cursor_fail(&cursor, 8, STATUS_UNIMPLEMENTED, "version",
                           "version %u, this program knows %d", version, RECORD_FILE_VERSION);
    TRY(cursor_u32(&cursor, &planes, "the planes"));
    if (planes != (uint32_t)file->kind->planes)
        return cursor_fail(&cursor, 12, STATUS_DATA_LOSS, "planes", "%u planes, must be %d", planes,
                           file->kind->planes);
    return STATUS_OK;
}

/* At most `most`, so that nobody makes room for what cannot be there. */
static enum status take_count(struct cursor *cursor, int64_t *count, uint64_t most,
                              const char *what)
{
    uint64_t value = 0;
    const size_t at = cursor->offset;
    TRY(cursor_u64(cursor, &value, what));
    if (value > most)
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "range", "%s is %llu", what,
                           (unsigned long long)value);
    *count = (int64_t)value;
    return STATUS_OK;
}

static enum status read_trailer(struct record_file *file, size_t bytes)
{
    const size_t least = RECORD_FILE_HEADER_BYTES + RECORD_FILE_TRAILER_BYTES;
    struct cursor cursor = cursor_at(file, bytes, 0);
    if (bytes < least)
        return cursor_fail(&cursor, bytes, STATUS_DATA_LOSS, "truncated",
                           "the file ends before its trailer");
    cursor.offset = bytes - RECORD_FILE_TRAILER_BYTES;
    TRY(cursor_u64(&cursor, &file->index, "the offset of the index"));
    TRY(take_count(&cursor, &file->count, bytes, "the number of records"));
    TRY(take_count(&cursor, &file->longest, bytes, "the longest record"));
    TRY(take_count(&cursor, &file->tokens, bytes, "the number of tokens"));
    TRY(take_count(&cursor, &file->vocab, INT32_MAX, "the vocabulary"));
    const uint64_t room = bytes - least;
    if (file->index < RECORD_FILE_HEADER_BYTES || file->index - RECORD_FILE_HEADER_BYTES > room ||
        (uint64_t)file->count !=
            (room - (file->index - RECORD_FILE_HEADER_BYTES)) / RECORD_FILE_INDEX_BYTES ||
        file->index + (uint64_t)file->count * RECORD_FILE_INDEX_BYTES !=
            bytes - RECORD_FILE_TRAILER_BYTES)
        return cursor_fail(&cursor, bytes - RECORD_FILE_TRAILER_BYTES, STATUS_DATA_LOSS, "index",
                           "an index of %lld records does not end at the trailer: the file is cut "
                           "off or no such file",
                           (long long)file->count);
    TRY(cursor_u64(&cursor, &file->digest, "the digest"));
    if (XXH3_64bits(file->data + file->index, bytes - 8 - file->index) != file->digest)
        return cursor_fail(&cursor, bytes - 8, STATUS_DATA_LOSS, "digest",
                           "index and trailer are not as they were written");
    return STATUS_OK;
}

enum status record_file_parse(struct record_file *file, const void *data, size_t bytes,
                              const char *name, const struct record_kind *kind)
{
    struct record_file parsed = {.kind = kind, .name = name, .data = data};
    TRY(check_header(&parsed, bytes));
    TRY(read_trailer(&parsed, bytes));
    *file = parsed;
    return STATUS_OK;
}

enum status record_file_open(struct record_file *file, const char *path,
                             const struct record_kind *kind)
{
    struct mapping mapping = {0};
    TRY(mapping_open(&mapping, path));
    const enum status status = record_file_parse(file, mapping.data, mapping.bytes, path, kind);
    if (status == STATUS_OK)
        file->mapping = mapping;
    else
        mapping_close(&mapping);
    return status;
}

void record_file_close(struct record_file *file)
{
    mapping_close(&file->mapping);
    *file = (struct record_file){0};
}

enum status record_file_read(const struct record_file *file, const void **planes, int64_t *count,
                             int64_t number)
{
    /* Records lie before the index. */
    struct cursor cursor =
        cursor_at(file, (size_t)(file->index + (uint64_t)file->count * RECORD_FILE_INDEX_BYTES),
                  file->index + (uint64_t)number * RECORD_FILE_INDEX_BYTES);
    const size_t entry = cursor.offset;
    uint64_t offset = 0, tokens = 0, digest = 0;
    TRY(cursor_u64(&cursor, &offset, "a record's offset"));
    TRY(cursor_u64(&cursor, &tokens, "a record's tokens"));
    TRY(cursor_u64(&cursor, &digest, "a record's digest"));
    uint64_t width = 0;
    for (int p = 0; p < file->kind->planes; p++)
        width += file->kind->element_bytes[p];
    if (tokens == 0 || tokens > COUNT_MOST || tokens > (uint64_t)file->longest || offset % 8 ||
        offset < RECORD_FILE_HEADER_BYTES || offset > file->index ||
        tokens > (file->index - offset) / width)
        return cursor_fail(&cursor, entry, STATUS_DATA_LOSS, "record",
                           "record %lld lies outside the records", (long long)number);
    const uint8_t *bytes = file->data + offset;
    if (XXH3_64bits(bytes, (size_t)(tokens * width)) != digest)
        return cursor_fail(&cursor, (size_t)offset, STATUS_DATA_LOSS, "digest",
                           "record %lld is not as it was written", (long long)number);
    for (int p = 0; p < file->kind->planes; p++) {
        planes[p] = bytes;
        bytes += tokens * file->kind->element_bytes[p];
    }
    *count = (int64_t)tokens;
    return STATUS_OK;
}
