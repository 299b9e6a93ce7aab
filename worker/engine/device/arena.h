/* One region of memory_plan: mapped once, zero until written, handed out in order, never freed
 * piece by piece. Pages come to be where they are first touched, so the thread that will use a
 * piece should touch it first. */
#pragma once

#include "proto/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { ARENA_ALIGNMENT = 64 };

struct arena;

/* `name` (the region's, in messages) is borrowed for the arena's life. `bytes` may be 0. */
MUST_CHECK enum status arena_create(struct arena **arena, const char *name, size_t bytes);

/* Over the first bytes of a file in memory, which others may map too: `writes` once, where it is
 * filled, and only for reading elsewhere. The mapping outlives the descriptor. */
MUST_CHECK enum status arena_create_over(struct arena **arena, const char *name, size_t bytes,
                                         int fd, bool writes);

/* From now on a write into the arena ends the process. `fd` is that of an arena which was made over
 * a file, and writes; -1 for others. Where the system can, nobody may write into that file any
 * more, nor cut it. */
MUST_CHECK enum status arena_freeze(struct arena *arena, int fd);

/* Accepts NULL. */
void arena_destroy(struct arena *arena);

/* The next `bytes`, aligned to ARENA_ALIGNMENT and zero. A piece takes up arena_rounded(bytes); to
 * ask for more than the plan gave the region is STATUS_INTERNAL: plan and engine disagree. */
MUST_CHECK enum status arena_take(struct arena *arena, void **piece, size_t bytes);

/* For tests: as created. */
size_t arena_bytes(const struct arena *arena);
/* For tests. */
size_t arena_used(const struct arena *arena);

/* What a piece of `bytes` takes up. */
static inline size_t arena_rounded(size_t bytes)
{
    return (bytes + ARENA_ALIGNMENT - 1) / ARENA_ALIGNMENT * ARENA_ALIGNMENT;
}
