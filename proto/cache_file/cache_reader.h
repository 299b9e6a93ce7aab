/* Reads a file of saved keys and values (docs/cache-files.md):
 *
 *   header    cache_header.h
 *   blocks    cache_block.h, one behind the other, in any order
 *   table     a block, by its number: u64 offset, u64 bytes, u64 digest
 *   trailer   u64 each: offset of the table, blocks, digest of table and trailer up to here, with
 *             the header's digest as its seed
 *
 * A file is complete or refused: its trailer is written last.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/cache_file/cache_block.h"
#include "proto/cache_file/cache_header.h"
#include "proto/model/mapping.h"
#include "proto/status.h"

enum { CACHE_ENTRY_BYTES = 24, CACHE_TRAILER_BYTES = 24 };

struct cache_reader {
    struct cache_header header;
    size_t header_bytes; /* as they lie at the start of the file */
    int64_t blocks;
    const char *name; /* for sentences; borrowed */
    const uint8_t *data;
    size_t bytes;
    struct mapping mapping; /* {0} where the bytes are the caller's */
    size_t table;           /* its offset */
};

/* Borrows `path`. NOT_FOUND, IO; DATA_LOSS where it is no whole file of saved keys, UNIMPLEMENTED
 * where a later version wrote it. */
MUST_CHECK enum status cache_reader_open(struct cache_reader *reader, const char *path);

/* For tests: the same over bytes in memory, which are borrowed, and start at a multiple of 8. */
MUST_CHECK enum status cache_reader_parse(struct cache_reader *reader, const void *data,
                                          size_t bytes, const char *name);

/* Accepts {0}. */
void cache_reader_close(struct cache_reader *reader);

/* The header's digest, as the file has it. */
uint64_t cache_reader_digest(const struct cache_reader *reader);

/* Block `number` as it is stored, for cache_block_unpack. 0 <= number < blocks. */
struct cache_stored cache_reader_stored(const struct cache_reader *reader, int64_t number);
