/* Owns a file of saved keys while it is written. Promises that its name stands for a whole file or
 * for what was there before. */
#include "proto/cache_file/cache_writer.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "proto/cache_file/cache_numbers.h"
#include "proto/cache_file/cache_reader.h"

static void free_members(struct cache_writer *writer)
{
    free(writer->path);
    free(writer->table);
    writer->path = NULL;
    writer->table = NULL;
}

static enum status write_header(struct cache_writer *writer, const struct cache_header *header)
{
    const size_t bytes = cache_header_bytes(header);
    uint8_t *start = malloc(bytes);
    if (!start)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", writer->path);
    enum status status = cache_header_write(header, start);
    if (status == STATUS_OK)
        status = output_file_write(&writer->file, start, bytes);
    writer->header_digest = XXH3_64bits(start, bytes - sizeof writer->header_digest);
    free(start);
    return status;
}

enum status cache_writer_open(struct cache_writer *writer, const char *path,
                              const struct cache_header *header)
{
    const int64_t blocks = cache_header_blocks(header);
    struct cache_writer made = {
        .path = strdup(path),
        .table = calloc(1, (size_t)blocks * CACHE_ENTRY_BYTES + CACHE_TRAILER_BYTES),
        .blocks = blocks,
    };
    if (!made.path || !made.table) {
        free_members(&made);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    }
    enum status status = output_file_open_beside(&made.file, path);
    if (status != STATUS_OK) {
        free_members(&made);
        return status;
    }
    status = write_header(&made, header);
    if (status == STATUS_OK)
        *writer = made;
    else
        cache_writer_discard(&made);
    return status;
}

enum status cache_writer_add(struct cache_writer *writer, const struct cache_stored *stored)
{
    static const uint8_t absent[CACHE_ENTRY_BYTES];
    if (stored->number < 0 || stored->number >= writer->blocks)
        return fail(STATUS_DATA_LOSS, "%s sent block %lld of %lld", stored->name,
                    (long long)stored->number, (long long)writer->blocks);
    uint8_t *entry = writer->table + stored->number * CACHE_ENTRY_BYTES;
    if (memcmp(entry, absent, sizeof absent) != 0)
        return fail(STATUS_DATA_LOSS, "%s sent block %lld twice", stored->name,
                    (long long)stored->number);
    if (cache_block_digest(stored->bytes, stored->count, stored->number) != stored->digest)
        return fail(STATUS_DATA_LOSS, "block %lld from %s was damaged on its way",
                    (long long)stored->number, stored->name);
    entry = cache_put_u64(entry, writer->file.bytes);
    entry = cache_put_u64(entry, stored->count);
    cache_put_u64(entry, stored->digest);
    writer->added++;
    return output_file_write(&writer->file, stored->bytes, stored->count);
}

/* Table and trailer are behind each other in memory, as in the file. */
static enum status write_end(struct cache_writer *writer)
{
    if (writer->added < writer->blocks)
        return fail(STATUS_DATA_LOSS, "of %lld blocks of %s only %lld came",
                    (long long)writer->blocks, writer->path, (long long)writer->added);
    const size_t bytes = (size_t)writer->blocks * CACHE_ENTRY_BYTES + CACHE_TRAILER_BYTES;
    uint8_t *at = writer->table + bytes - CACHE_TRAILER_BYTES;
    at = cache_put_u64(at, writer->file.bytes);
    at = cache_put_u64(at, (uint64_t)writer->blocks);
    cache_put_u64(
        at, XXH3_64bits_withSeed(writer->table, bytes - sizeof(uint64_t), writer->header_digest));
    return output_file_write(&writer->file, writer->table, bytes);
}

enum status cache_writer_close(struct cache_writer *writer)
{
    enum status status = write_end(writer);
    if (status != STATUS_OK) {
        cache_writer_discard(writer);
        return status;
    }
    status = output_file_close_as(&writer->file, writer->path);
    free_members(writer);
    return status;
}

void cache_writer_discard(struct cache_writer *writer)
{
    output_file_discard(&writer->file);
    free_members(writer);
}
