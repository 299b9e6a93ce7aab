/* Owns the reading of files of saved keys. Promises that no view leaves the file, whatever its
 * table claims. */
#include "proto/cache_file/cache_reader.h"

#include <xxhash.h>

static struct cursor cursor_at(const struct cache_reader *reader, size_t offset)
{
    return (struct cursor){
        .data = reader->data, .bytes = reader->bytes, .offset = offset, .name = reader->name};
}

static enum status read_trailer(struct cache_reader *reader, uint64_t header_digest)
{
    uint64_t table = 0, blocks = 0, digest = 0;
    const size_t end = reader->bytes - CACHE_TRAILER_BYTES;
    if (reader->bytes - reader->header_bytes < CACHE_TRAILER_BYTES)
        return cursor_fail(&(struct cursor){.name = reader->name}, reader->bytes, STATUS_DATA_LOSS,
                           "truncated", "the file ends before its trailer");
    struct cursor cursor = cursor_at(reader, end);
    TRY(cursor_u64(&cursor, &table, "the offset of the table"));
    TRY(cursor_u64(&cursor, &blocks, "the number of blocks"));
    TRY(cursor_u64(&cursor, &digest, "the table's digest"));
    reader->blocks = cache_header_blocks(&reader->header);
    const size_t table_bytes = (size_t)reader->blocks * CACHE_ENTRY_BYTES;
    if (blocks != (uint64_t)reader->blocks || end - reader->header_bytes < table_bytes ||
        table != end - table_bytes)
        return cursor_fail(&cursor, end, STATUS_DATA_LOSS, "truncated",
                           "no table of %lld blocks ends at the trailer: the file is cut off, or "
                           "something was added to it",
                           (long long)reader->blocks);
    reader->table = (size_t)table;
    const size_t counted = table_bytes + CACHE_TRAILER_BYTES - sizeof digest;
    if (XXH3_64bits_withSeed(reader->data + table, counted, header_digest) != digest)
        return cursor_fail(&cursor, reader->bytes - sizeof digest, STATUS_DATA_LOSS, "digest",
                           "table and trailer are not as they were written");
    return STATUS_OK;
}

/* Each block lies between header and table, and together they fill that place. */
static enum status check_table(const struct cache_reader *reader)
{
    struct cursor cursor = cursor_at(reader, reader->table);
    const size_t element_bytes = cache_header_element_bytes(&reader->header);
    size_t left = reader->table - reader->header_bytes;
    for (int64_t number = 0; number < reader->blocks; number++) {
        uint64_t offset = 0, bytes = 0, digest = 0;
        const size_t entry = cursor.offset;
        const size_t most = cache_block_stored_most(
            cache_header_block_bytes(&reader->header, number), element_bytes);
        TRY(cursor_u64(&cursor, &offset, "a block's offset"));
        TRY(cursor_u64(&cursor, &bytes, "a block's bytes"));
        TRY(cursor_u64(&cursor, &digest, "a block's digest"));
        if (offset < reader->header_bytes || offset > reader->table ||
            bytes > reader->table - offset || bytes > most || bytes > left)
            return cursor_fail(&cursor, entry, STATUS_DATA_LOSS, "table",
                               "block %lld does not lie among the blocks", (long long)number);
        left -= (size_t)bytes;
    }
    if (left > 0)
        return cursor_fail(&cursor, reader->table, STATUS_DATA_LOSS, "table",
                           "%zu bytes before the table are no block's", left);
    return STATUS_OK;
}

enum status cache_reader_parse(struct cache_reader *reader, const void *data, size_t bytes,
                               const char *name)
{
    struct cache_reader parsed = {.name = name, .data = data, .bytes = bytes};
    struct cursor cursor = cursor_at(&parsed, 0);
    uint64_t digest = 0;
    TRY(cache_header_read(&parsed.header, &digest, &cursor));
    parsed.header_bytes = cursor.offset;
    TRY(read_trailer(&parsed, digest));
    TRY(check_table(&parsed));
    *reader = parsed;
    return STATUS_OK;
}

enum status cache_reader_open(struct cache_reader *reader, const char *path)
{
    struct mapping mapping = {0};
    TRY(mapping_open(&mapping, path));
    const enum status status = cache_reader_parse(reader, mapping.data, mapping.bytes, path);
    if (status == STATUS_OK)
        reader->mapping = mapping;
    else
        mapping_close(&mapping);
    return status;
}

void cache_reader_close(struct cache_reader *reader)
{
    mapping_close(&reader->mapping);
    *reader = (struct cache_reader){0};
}

static uint64_t get_u64(const uint8_t *at)
{
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | at[i];
    return value;
}

uint64_t cache_reader_digest(const struct cache_reader *reader)
{
    return get_u64(reader->data + reader->header_bytes - sizeof(uint64_t));
}

struct cache_stored cache_reader_stored(const struct cache_reader *reader, int64_t number)
{
    const uint8_t *entry = reader->data + reader->table + number * CACHE_ENTRY_BYTES;
    const size_t offset = (size_t)get_u64(entry);
    return (struct cache_stored){
        .bytes = reader->data + offset,
        .count = (size_t)get_u64(entry + 8),
        .number = number,
        .digest = get_u64(entry + 16),
        .name = reader->name,
        .offset = offset,
    };
}
