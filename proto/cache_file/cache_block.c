/* Owns blocks as they are stored. Promises that stored bytes are looked at only when they are those
 * that were written, and that none of them makes a block of another size. */
#include "proto/cache_file/cache_block.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "proto/cache_file/cache_numbers.h"
#include "proto/model/cursor.h"

/* Measured: higher levels cost time, and save nothing (docs/decisions/cache-files.md). */
enum { LEVEL = 1 };

struct cache_packer {
    size_t block_bytes, element_bytes;
    ZSTD_CCtx *press;
    ZSTD_DCtx *release;
    uint8_t *planes; /* [block_bytes] */
    uint8_t *stored; /* [cache_block_stored_most] */
};

enum status cache_packer_create(struct cache_packer **out, size_t block_bytes, size_t element_bytes)
{
    assert(element_bytes == 1 || element_bytes == 2 || element_bytes == 4);
    assert(block_bytes > 0 && block_bytes % element_bytes == 0);
    struct cache_packer *packer = calloc(1, sizeof *packer);
    if (packer) {
        packer->block_bytes = block_bytes;
        packer->element_bytes = element_bytes;
        packer->press = ZSTD_createCCtx();
        packer->release = ZSTD_createDCtx();
        packer->planes = malloc(block_bytes);
        packer->stored = malloc(cache_block_stored_most(block_bytes, element_bytes));
    }
    if (!packer || !packer->press || !packer->release || !packer->planes || !packer->stored) {
        cache_packer_destroy(packer);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to pack blocks of %zu bytes",
                    block_bytes);
    }
    *out = packer;
    return STATUS_OK;
}

void cache_packer_destroy(struct cache_packer *packer)
{
    if (!packer)
        return;
    ZSTD_freeCCtx(packer->press);
    ZSTD_freeDCtx(packer->release);
    free(packer->planes);
    free(packer->stored);
    free(packer);
}

uint64_t cache_block_digest(const void *stored, size_t bytes, int64_t number)
{
    return XXH3_64bits_withSeed(stored, bytes, (uint64_t)number);
}

/* planes [width][count] of elements [count][width]. */
static void part_planes(uint8_t *restrict planes, const uint8_t *restrict block, size_t count,
                        size_t width)
{
    for (size_t plane = 0; plane < width; plane++)
        for (size_t i = 0; i < count; i++)
            planes[plane * count + i] = block[i * width + plane];
}

static void join_planes(uint8_t *restrict block, const uint8_t *restrict planes, size_t count,
                        size_t width)
{
    for (size_t plane = 0; plane < width; plane++)
        for (size_t i = 0; i < count; i++)
            block[i * width + plane] = planes[plane * count + i];
}

void cache_block_pack(struct cache_packer *packer, const uint8_t **stored, size_t *stored_bytes,
                      const void *block, size_t bytes)
{
    const size_t width = packer->element_bytes;
    const size_t count = bytes / width;
    assert(bytes > 0 && bytes <= packer->block_bytes && bytes % width == 0);
    uint8_t *at = packer->stored + width * sizeof(uint32_t);
    part_planes(packer->planes, block, count, width);
    for (size_t plane = 0; plane < width; plane++) {
        const uint8_t *bare = packer->planes + plane * count;
        /* Room for one byte less than it has: what does not shrink is kept as it is. */
        size_t pressed = ZSTD_compressCCtx(packer->press, at, count - 1, bare, count, LEVEL);
        if (ZSTD_isError(pressed)) {
            memcpy(at, bare, count);
            pressed = count;
        }
        cache_put_u32(packer->stored + plane * sizeof(uint32_t), (uint32_t)pressed);
        at += pressed;
    }
    *stored = packer->stored;
    *stored_bytes = (size_t)(at - packer->stored);
}

static enum status take_plane(struct cache_packer *packer, uint8_t *plane, size_t count,
                              uint32_t bytes, struct cursor *cursor)
{
    const uint8_t *stored = NULL;
    const size_t at = cursor->offset;
    TRY(cursor_take(cursor, &stored, bytes, "a plane of the block"));
    if (bytes == count) {
        memcpy(plane, stored, count);
        return STATUS_OK;
    }
    const size_t released = ZSTD_decompressDCtx(packer->release, plane, count, stored, bytes);
    if (ZSTD_isError(released))
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "zstd", "a plane of %zu bytes: %s", count,
                           ZSTD_getErrorName(released));
    if (released != count)
        return cursor_fail(cursor, at, STATUS_DATA_LOSS, "zstd",
                           "a plane of %zu bytes, must be %zu", released, count);
    return STATUS_OK;
}

enum status cache_block_unpack(struct cache_packer *packer, void *block, size_t bytes,
                               const struct cache_stored *stored)
{
    const size_t width = packer->element_bytes;
    const size_t count = bytes / width;
    assert(bytes > 0 && bytes <= packer->block_bytes && bytes % width == 0);
    struct cursor cursor = {
        .data = stored->bytes - stored->offset,
        .bytes = stored->offset + stored->count,
        .offset = stored->offset,
        .name = stored->name,
    };
    struct cursor sizes = cursor;
    const uint8_t *head = NULL;
    if (cache_block_digest(stored->bytes, stored->count, stored->number) != stored->digest)
        return cursor_fail(&cursor, stored->offset, STATUS_DATA_LOSS, "digest",
                           "block %lld is not as it was written", (long long)stored->number);
    TRY(cursor_take(&cursor, &head, width * sizeof(uint32_t), "the block's planes"));
    for (size_t plane = 0; plane < width; plane++) {
        uint32_t plane_bytes = 0;
        TRY(cursor_u32(&sizes, &plane_bytes, "a plane's bytes"));
        TRY(take_plane(packer, packer->planes + plane * count, count, plane_bytes, &cursor));
    }
    if (cursor_left(&cursor) > 0)
        return cursor_fail(&cursor, cursor.offset, STATUS_DATA_LOSS, "block",
                           "%zu bytes after the planes of block %lld", cursor_left(&cursor),
                           (long long)stored->number);
    join_planes(block, packer->planes, count, width);
    return STATUS_OK;
}
