/* Owns the slots of a map of numbers. Promises that a look-up ends, whatever the keys. */
#include "coordinator/text/number_map.h"

#include <stdlib.h>

enum { NONE = -1, SLOTS_MIN = 64 };

struct number_map_slot {
    uint64_t key;
    int32_t value; /* NONE: the slot is empty */
};

/* The slot of the key, or the empty one where it would be. */
static struct number_map_slot *slot_of(const struct number_map *map, uint64_t key)
{
    size_t place = (size_t)secret_hash_number(&map->key, key) & (map->capacity - 1);
    while (map->slots[place].value != NONE && map->slots[place].key != key)
        place = (place + 1) & (map->capacity - 1);
    return &map->slots[place];
}

static enum status grow(struct number_map *map)
{
    struct number_map larger = {.capacity = map->capacity ? 2 * map->capacity : SLOTS_MIN,
                                .count = map->count,
                                .key = map->capacity ? map->key : secret_hash_draw()};
    larger.slots = malloc(larger.capacity * sizeof *larger.slots);
    if (!larger.slots)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a table of %zu numbers",
                    larger.capacity);
    for (size_t i = 0; i < larger.capacity; i++)
        larger.slots[i].value = NONE;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].value != NONE)
            *slot_of(&larger, map->slots[i].key) = map->slots[i];
    free(map->slots);
    *map = larger;
    return STATUS_OK;
}

void number_map_deinit(struct number_map *map)
{
    free(map->slots);
    *map = (struct number_map){0};
}

enum status number_map_set(struct number_map *map, uint64_t key, int32_t value)
{
    if (2 * (map->count + 1) > map->capacity)
        TRY(grow(map));
    struct number_map_slot *slot = slot_of(map, key);
    map->count += slot->value == NONE;
    *slot = (struct number_map_slot){key, value};
    return STATUS_OK;
}

int32_t number_map_find(const struct number_map *map, uint64_t key)
{
    return map->capacity > 0 ? slot_of(map, key)->value : NONE;
}
