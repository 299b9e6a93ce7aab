/* Owns nothing. Promises the same numbers for the same seed on every machine. */
#include "proto/train/chance.h"

#include <assert.h>

static uint64_t chance_bits(struct chance *chance)
{
    uint64_t z = chance->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

struct chance chance_begin(uint64_t seed, enum chance_use use, uint64_t number)
{
    struct chance chance = {.state = seed};
    chance.state = chance_bits(&chance) ^ (uint64_t)use;
    chance.state = chance_bits(&chance) ^ number;
    chance.state = chance_bits(&chance);
    return chance;
}

int64_t chance_below(struct chance *chance, int64_t end)
{
    assert(end > 0);
    const uint64_t range = (uint64_t)end;
    /* The first 2^64 mod range values would make small results likelier. */
    const uint64_t least = -range % range;
    uint64_t bits;
    do
        bits = chance_bits(chance);
    while (bits < least);
    return (int64_t)(bits % range);
}

void chance_shuffle(struct chance *chance, int64_t *order, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        order[i] = i;
    for (int64_t i = count - 1; i > 0; i--) {
        const int64_t other = chance_below(chance, i + 1);
        const int64_t kept = order[i];
        order[i] = order[other];
        order[other] = kept;
    }
}
