/* Owns the blocks of an arena. Promises that nothing moves. */
#include "coordinator/jinja/jinja_arena.h"

#include <stdint.h>
#include <stdlib.h>

enum { BLOCK_BYTES = 64 << 10, ALIGNMENT = 16 };

struct jinja_arena_block {
    struct jinja_arena_block *before;
    size_t used;
    size_t room;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

void *jinja_arena_take(struct jinja_arena *arena, size_t bytes)
{
    if (bytes > arena->bytes_max || arena->bytes > arena->bytes_max - bytes)
        return NULL;
    const size_t rounded = bytes > 0 ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : ALIGNMENT;
    struct jinja_arena_block *block = arena->last;
    if (!block || block->room - block->used < rounded) {
        const size_t room = rounded > BLOCK_BYTES / 2 ? rounded : BLOCK_BYTES;
        block = malloc(sizeof *block + room);
        if (!block)
            return NULL;
        *block = (struct jinja_arena_block){.before = arena->last, .room = room};
        arena->last = block;
    }
    void *taken = block->bytes + block->used;
    block->used += rounded;
    arena->bytes += rounded;
    return taken;
}

void jinja_arena_deinit(struct jinja_arena *arena)
{
    while (arena->last) {
        struct jinja_arena_block *block = arena->last;
        arena->last = block->before;
        free(block);
    }
    arena->bytes = 0;
}
