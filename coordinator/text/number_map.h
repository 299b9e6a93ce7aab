/* Numbers by number: a hash table that only grows. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/text/secret_hash.h"
#include "proto/status.h"

/* {0} is an empty map. The caller owns the struct, the map owns `slots`. */
struct number_map {
    struct number_map_slot *slots; /* open addressing, at most half full; NULL where empty */
    struct secret_hash_key key;    /* drawn with the first of them */
    size_t count;
    size_t capacity;
};

void number_map_deinit(struct number_map *map);

/* `value` is not negative. Replaces what was there. RESOURCE_EXHAUSTED where memory ends. */
MUST_CHECK enum status number_map_set(struct number_map *map, uint64_t key, int32_t value);

/* -1 where there is none. */
int32_t number_map_find(const struct number_map *map, uint64_t key);
