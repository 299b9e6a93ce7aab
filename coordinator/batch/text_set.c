/* Owns the hashes: open addressing, never more than half full. */
#include "coordinator/batch/text_set.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { ROOM_FIRST = 256 };

static struct text_set_hash hash_of(const char *text)
{
    const XXH128_hash_t hash = XXH3_128bits(text, strlen(text));
    return (struct text_set_hash){hash.low64 | 1, hash.high64}; /* never all zero */
}

/* The place of the hash, or the free one where it would go. */
static size_t place_of(const struct text_set *set, const struct text_set_hash *hash)
{
    size_t at = hash->high & (set->room - 1);
    while (set->hashes[at].low &&
           (set->hashes[at].low != hash->low || set->hashes[at].high != hash->high))
        at = (at + 1) & (set->room - 1);
    return at;
}

static enum status grow(struct text_set *set)
{
    struct text_set wider = {.count = set->count, .room = set->room ? 2 * set->room : ROOM_FIRST};
    wider.hashes = calloc(wider.room, sizeof *wider.hashes);
    if (!wider.hashes)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu names", wider.room / 2);
    for (size_t i = 0; i < set->room; i++)
        if (set->hashes[i].low)
            wider.hashes[place_of(&wider, &set->hashes[i])] = set->hashes[i];
    free(set->hashes);
    *set = wider;
    return STATUS_OK;
}

bool text_set_has(const struct text_set *set, const char *text)
{
    const struct text_set_hash hash = hash_of(text);
    return set->room > 0 && set->hashes[place_of(set, &hash)].low != 0;
}

enum status text_set_add(struct text_set *set, bool *added, const char *text)
{
    const struct text_set_hash hash = hash_of(text);
    if (2 * set->count >= set->room)
        TRY(grow(set));
    const size_t at = place_of(set, &hash);
    *added = set->hashes[at].low == 0;
    set->hashes[at] = hash;
    set->count += *added;
    return STATUS_OK;
}

void text_set_deinit(struct text_set *set)
{
    free(set->hashes);
    *set = (struct text_set){.count = 0};
}

void text_set_hex(char hex[TEXT_SET_HEX_BYTES], const char *text, size_t bytes)
{
    const XXH128_hash_t hash = XXH3_128bits(text, bytes);
    snprintf(hex, TEXT_SET_HEX_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}
