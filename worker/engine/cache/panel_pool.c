/* Owns the counts of holders. */
#include "worker/engine/cache/panel_pool.h"

#include <assert.h>
#include <stdlib.h>

struct panel_pool {
    int64_t slots;
    int64_t free;
    int *holders; /* [slots] */
};

enum status panel_pool_create(struct panel_pool **out, int64_t slots)
{
    struct panel_pool *pool = malloc(sizeof *pool);
    int *holders = calloc((size_t)slots + 1, sizeof *holders);
    if (!pool || !holders) {
        free(pool);
        free(holders);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of %lld panel slots",
                    (long long)slots);
    }
    *pool = (struct panel_pool){.slots = slots, .free = slots, .holders = holders};
    *out = pool;
    return STATUS_OK;
}

void panel_pool_destroy(struct panel_pool *pool)
{
    if (!pool)
        return;
    free(pool->holders);
    free(pool);
}

int64_t panel_pool_slots(const struct panel_pool *pool)
{
    return pool->slots;
}

int64_t panel_pool_free(const struct panel_pool *pool)
{
    return pool->free;
}

int panel_pool_holders(const struct panel_pool *pool, int64_t slot)
{
    return pool->holders[slot];
}

bool panel_pool_take(struct panel_pool *pool, int64_t *first, int64_t count)
{
    int64_t run = 0;
    int64_t end = 0;
    while (end < pool->slots && run < count)
        run = pool->holders[end++] == 0 ? run + 1 : 0;
    if (run < count)
        return false;
    *first = end - count;
    panel_pool_hold(pool, *first, count);
    return true;
}

void panel_pool_hold(struct panel_pool *pool, int64_t first, int64_t count)
{
    for (int64_t slot = first; slot < first + count; slot++)
        pool->free -= pool->holders[slot]++ == 0;
}

void panel_pool_release(struct panel_pool *pool, int64_t first, int64_t count)
{
    for (int64_t slot = first; slot < first + count; slot++) {
        assert(pool->holders[slot] > 0);
        pool->free += --pool->holders[slot] == 0;
    }
}

/* The shortest range of slots with `count` free ones, the first and the last of them among these:
 * the fewest to move, and no consecutive held slots on both sides of an end. */
static void find_cheapest(const struct panel_pool *pool, int64_t count, int64_t *first,
                          int64_t *end)
{
    int64_t begin = 0;
    int64_t free_slots = 0;
    *first = 0;
    *end = pool->slots;
    for (int64_t slot = 0; slot < pool->slots; slot++) {
        if (pool->holders[slot] > 0)
            continue;
        free_slots++;
        for (; free_slots > count || pool->holders[begin] > 0; begin++)
            free_slots -= pool->holders[begin] == 0;
        if (free_slots == count && slot + 1 - begin <= *end - *first) {
            *first = begin;
            *end = slot + 1;
        }
    }
}

void panel_pool_close_up(struct panel_pool *pool, int64_t count, int64_t *to)
{
    int64_t first, end;
    assert(count > 0 && count <= pool->free);
    find_cheapest(pool, count, &first, &end);
    int64_t next = first;
    for (int64_t slot = 0; slot < pool->slots; slot++) {
        const int holders = pool->holders[slot];
        const bool moves = slot >= first && slot < end;
        to[slot] = holders == 0 ? -1 : moves ? next : slot;
        if (holders == 0 || !moves)
            continue;
        pool->holders[slot] = 0;
        pool->holders[next++] = holders;
    }
}
