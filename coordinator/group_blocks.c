/* Owns blocks that ranks have sent and nobody has taken. Promises that neither side has more than
 * it asked for. */
#include "coordinator/group_blocks.h"

#include <stdlib.h>
#include <string.h>

#include "proto/cache_file/cache_block.h"

enum status group_blocks_init(struct group_blocks *blocks, int size)
{
    *blocks = (struct group_blocks){.ranks = calloc((size_t)size, sizeof *blocks->ranks)};
    if (!blocks->ranks)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the blocks of %d ranks", size);
    return STATUS_OK;
}

void group_blocks_deinit(struct group_blocks *blocks)
{
    while (blocks->first) {
        struct group_block *next = blocks->first->next;
        free(blocks->first);
        blocks->first = next;
    }
    free(blocks->ranks);
    *blocks = (struct group_blocks){0};
}

bool group_blocks_add(struct group_blocks *blocks, int rank,
                      const Longhaul__Control__V1__RunBlock *message)
{
    const size_t count = message->stored.len;
    if (!blocks->ranks ||
        blocks->ranks[rank].here + blocks->ranks[rank].untold >= CACHE_BLOCKS_AHEAD)
        return false;
    struct group_block *block = malloc(sizeof *block + count);
    if (!block)
        return false;
    *block = (struct group_block){
        .rank = rank, .number = message->number, .digest = message->digest, .count = count};
    memcpy(block->bytes, message->stored.data, count);
    if (!blocks->first)
        blocks->end = &blocks->first;
    *blocks->end = block;
    blocks->end = &block->next;
    blocks->ranks[rank].here++;
    return true;
}

struct group_block *group_blocks_pop(struct group_blocks *blocks, int64_t *taken)
{
    struct group_block *block = blocks->first;
    *taken = 0;
    if (!block)
        return NULL;
    struct group_blocks_rank *rank = &blocks->ranks[block->rank];
    blocks->first = block->next;
    rank->here--;
    if (++rank->untold >= CACHE_BLOCKS_AHEAD / 4) {
        *taken = rank->untold;
        rank->untold = 0;
    }
    return block;
}

bool group_blocks_reserve(struct group_blocks *blocks, int rank)
{
    if (blocks->ranks[rank].ahead >= CACHE_BLOCKS_AHEAD)
        return false;
    blocks->ranks[rank].ahead++;
    return true;
}

void group_blocks_taken(struct group_blocks *blocks, int rank, int64_t count)
{
    if (blocks->ranks)
        blocks->ranks[rank].ahead -= count;
}
