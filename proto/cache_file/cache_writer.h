/* Writes a file of saved keys and values, block by block as they come. It lies beside its place
 * until it is whole. */
#pragma once

#include "proto/cache_file/cache_block.h"
#include "proto/cache_file/cache_header.h"
#include "proto/model/output_file.h"
#include "proto/status.h"

struct cache_writer {
    struct output_file file; /* beside its place */
    char *path;
    uint8_t *table; /* [blocks] entries and a trailer; an entry of 0 bytes is not there yet */
    int64_t blocks, added;
    uint64_t header_digest;
};

/* Makes PATH.unfinished. Borrows nothing. IO where it cannot be made. */
MUST_CHECK enum status cache_writer_open(struct cache_writer *writer, const char *path,
                                         const struct cache_header *header);

/* The stored bytes of a block that was not added yet, of its digest: DATA_LOSS otherwise. Blocks
 * come in any order. */
MUST_CHECK enum status cache_writer_add(struct cache_writer *writer,
                                        const struct cache_stored *stored);

/* Completes the file, which takes its place at once, and returns when it is on disk. DATA_LOSS
 * where a block is missing. The writer is of no more use, also on failure. */
MUST_CHECK enum status cache_writer_close(struct cache_writer *writer);

/* Removes what was written. */
void cache_writer_discard(struct cache_writer *writer);
