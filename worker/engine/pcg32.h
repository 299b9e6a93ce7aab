/* PCG32 (O'Neill 2014, XSH-RR 64/32): 32 random bits a draw from 64 bits of state, seeded as its
 * author's pcg32_srandom_r does. */
#pragma once

#include <stdint.h>

struct pcg32 {
    uint64_t state;
    uint64_t increment; /* odd; names the stream */
};

static inline uint32_t pcg32_next(struct pcg32 *random)
{
    const uint64_t old = random->state;
    random->state = old * UINT64_C(6364136223846793005) + random->increment;
    const uint32_t shifted = (uint32_t)(((old >> 18) ^ old) >> 27);
    const uint32_t rotation = (uint32_t)(old >> 59);
    return (shifted >> rotation) | (shifted << ((32 - rotation) & 31));
}

/* Streams of the same state and different sequences (below 2^63) are unlike. */
static inline struct pcg32 pcg32_seeded(uint64_t state, uint64_t sequence)
{
    struct pcg32 random = {0, sequence << 1 | 1};
    pcg32_next(&random);
    random.state += state;
    pcg32_next(&random);
    return random;
}

/* SplitMix64's next number (Steele, Lea and Flood 2014): every bit of it depends on every bit of
 * `seed`, and no two seeds give the same one. PCG's own seeding is linear in its state: the first
 * draws of states in a row are evener than chance would have them. */
static inline uint64_t pcg32_mixed(uint64_t seed)
{
    uint64_t z = seed + UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
