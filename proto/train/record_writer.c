/* Owns a file of records while it is written. Promises that its name stands for a whole file or for
 * what was there before. */
#include "proto/train/record_file.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { CAPACITY_FIRST = 256 };

static void put_u64(uint8_t *bytes, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
}

static void free_members(struct record_writer *writer)
{
    free(writer->path);
    free(writer->index);
    writer->path = NULL;
    writer->index = NULL;
}

static enum status write_header(struct record_writer *writer)
{
    uint8_t header[RECORD_FILE_HEADER_BYTES] = {0};
    memcpy(header, writer->kind->magic, 8);
    header[8] = RECORD_FILE_VERSION;
    header[12] = (uint8_t)writer->kind->planes;
    return output_file_write(&writer->file, header, sizeof header);
}

enum status record_writer_open(struct record_writer *writer, const char *path,
                               const struct record_kind *kind, int64_t vocab)
{
    struct record_writer made = {.kind = kind, .path = strdup(path), .vocab = vocab};
    if (!made.path)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    enum status status = output_file_open_beside(&made.file, path);
    if (status != STATUS_OK) {
        free_members(&made);
        return status;
    }
    status = write_header(&made);
    if (status == STATUS_OK)
        *writer = made;
    else
        record_writer_discard(&made);
    return status;
}

static enum status grow(struct record_writer *writer)
{
    if (writer->count < writer->capacity)
        return STATUS_OK;
    const int64_t capacity = writer->capacity ? 2 * writer->capacity : CAPACITY_FIRST;
    uint8_t *index = realloc(writer->index, (size_t)capacity * RECORD_FILE_INDEX_BYTES +
                                                RECORD_FILE_TRAILER_BYTES);
    if (!index)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the index of %s", writer->path);
    writer->index = index;
    writer->capacity = capacity;
    return STATUS_OK;
}

enum status record_writer_add(struct record_writer *writer, const void *const *planes,
                              int64_t count)
{
    assert(count > 0 && count <= INT32_MAX);
    TRY(grow(writer));
    TRY(output_file_pad(&writer->file, 8));
    uint8_t *entry = writer->index + writer->count * RECORD_FILE_INDEX_BYTES;
    XXH3_state_t *digest = XXH3_createState();
    if (!digest)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", writer->path);
    put_u64(entry, writer->file.bytes);
    put_u64(entry + 8, (uint64_t)count);
    enum status status = STATUS_OK;
    XXH3_64bits_reset(digest);
    for (int p = 0; p < writer->kind->planes && status == STATUS_OK; p++) {
        const size_t bytes = (size_t)count * writer->kind->element_bytes[p];
        XXH3_64bits_update(digest, planes[p], bytes);
        status = output_file_write(&writer->file, planes[p], bytes);
    }
    put_u64(entry + 16, XXH3_64bits_digest(digest));
    XXH3_freeState(digest);
    TRY(status);
    writer->count++;
    writer->tokens += count;
    if (count > writer->longest)
        writer->longest = count;
    return STATUS_OK;
}

/* Index and trailer are behind each other in memory, as in the file. */
static enum status write_end(struct record_writer *writer)
{
    TRY(grow(writer));
    TRY(output_file_pad(&writer->file, 8));
    const size_t index_bytes = (size_t)writer->count * RECORD_FILE_INDEX_BYTES;
    uint8_t *trailer = writer->index + index_bytes;
    put_u64(trailer, writer->file.bytes);
    put_u64(trailer + 8, (uint64_t)writer->count);
    put_u64(trailer + 16, (uint64_t)writer->longest);
    put_u64(trailer + 24, (uint64_t)writer->tokens);
    put_u64(trailer + 32, (uint64_t)writer->vocab);
    put_u64(trailer + 40, XXH3_64bits(writer->index, index_bytes + RECORD_FILE_TRAILER_BYTES - 8));
    return output_file_write(&writer->file, writer->index, index_bytes + RECORD_FILE_TRAILER_BYTES);
}

enum status record_writer_close(struct record_writer *writer)
{
    enum status status = write_end(writer);
    if (status != STATUS_OK) {
        record_writer_discard(writer);
        return status;
    }
    status = output_file_close_as(&writer->file, writer->path);
    free_members(writer);
    return status;
}

void record_writer_discard(struct record_writer *writer)
{
    output_file_discard(&writer->file);
    free_members(writer);
}
