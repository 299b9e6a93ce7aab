/* A block of saved keys and values as it is stored and sent: its bytes plane by plane (the first
 * byte of every element, then the second, ...), each plane as a zstd frame where that is smaller.
 *
 *   u32 bytes of each plane; planes, one a byte of an element
 *
 * A plane whose bytes are as many as the block has elements is there as it is. Why planes:
 * docs/decisions/cache-files.md.
 *
 * A block's digest is XXH3 64 of the stored bytes, with the block's number as its seed: a block
 * that stands in another's place is damaged.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

/* Blocks that are under way between two processes, which the receiver has not taken. */
enum { CACHE_BLOCKS_AHEAD = 32 };

/* What packing and unpacking needs; for one thread at a time. */
struct cache_packer;

/* For blocks of up to block_bytes, in elements of element_bytes: 1, 2 or 4. */
MUST_CHECK enum status cache_packer_create(struct cache_packer **packer, size_t block_bytes,
                                           size_t element_bytes);

/* Accepts NULL. */
void cache_packer_destroy(struct cache_packer *packer);

/* Most bytes of a stored block; the most that a packer of block_bytes makes. */
static inline size_t cache_block_stored_most(size_t block_bytes, size_t element_bytes)
{
    return element_bytes * sizeof(uint32_t) + block_bytes;
}

/* *stored is the block [bytes] as it is to be stored; the packer's, until its next call. */
void cache_block_pack(struct cache_packer *packer, const uint8_t **stored, size_t *stored_bytes,
                      const void *block, size_t bytes);

uint64_t cache_block_digest(const void *stored, size_t bytes, int64_t number);

/* A stored block, and where it comes from. */
struct cache_stored {
    const uint8_t *bytes;
    size_t count;
    int64_t number;
    uint64_t digest;
    const char *name; /* the file's, or the sender's, for sentences */
    size_t offset;    /* of the bytes in it */
};

/* Writes block [bytes]. DATA_LOSS where the stored bytes are not the digest's, or no block of so
 * many bytes; `block` is undefined then. */
MUST_CHECK enum status cache_block_unpack(struct cache_packer *packer, void *block, size_t bytes,
                                          const struct cache_stored *stored);
