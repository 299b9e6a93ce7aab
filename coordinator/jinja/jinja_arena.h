/* Memory that is taken piece by piece and given back all at once, up to a limit. What one template
 * or one rendering needs lies in one arena. */
#pragma once

#include <stddef.h>

struct jinja_arena_block;

/* {.bytes_max = N} is an empty arena. */
struct jinja_arena {
    size_t bytes_max;
    size_t bytes; /* taken so far */
    struct jinja_arena_block *last;
};

/* Aligned for any type, not zeroed; never NULL for 0 bytes. NULL where the limit or memory ends. */
void *jinja_arena_take(struct jinja_arena *arena, size_t bytes);

/* Frees everything that was taken. */
void jinja_arena_deinit(struct jinja_arena *arena);
