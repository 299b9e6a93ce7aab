/* Numbers by chance that anybody can draw again, on any machine and in any language: PCG32, the
 * generator PCG-XSH-RR 64/32 of M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient
 * Statistically Good Algorithms for Random Number Generation", HMC-CS-2014-0905.
 *
 * A sample's draws follow from its key alone: the state is seeded with the seed, the sequence with
 * FNV-1a (64 bits) of "TASK/LENGTH/INDEX/PART". */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct eval_random {
    uint64_t state, increment;
};

/* As pcg32_srandom_r: increment = 2 sequence + 1, one step from 0, + state, one step.
 * By itself for tests. */
void eval_random_seed(struct eval_random *random, uint64_t state, uint64_t sequence);

struct eval_random_key {
    uint64_t seed;
    const char *task;
    int64_t length; /* tokens */
    int64_t index;  /* of the sample */
};

/* `part`: what is drawn, so that one part of a sample does not depend on the size of another. */
void eval_random_begin(struct eval_random *random, const struct eval_random_key *key,
                       const char *part);

uint32_t eval_random_bits(struct eval_random *random);

/* In [0, bound), each as likely: bits below (2^32 - bound) % bound are drawn again, the rest is
 * taken modulo bound. `bound` above 0. */
uint32_t eval_random_below(struct eval_random *random, uint32_t bound);

/* Fisher and Yates, from the end: entry i is exchanged with entry below(i + 1). */
void eval_random_shuffle(struct eval_random *random, uint32_t *entries, size_t count);

/* `count` different numbers of [0, bound), ascending: the first `count` of 0 .. bound - 1 once
 * entry i has been exchanged with entry i + below(bound - i), for i = 0 .. count - 1. `entries`
 * has room for `bound`. */
void eval_random_choose(struct eval_random *random, uint32_t *entries, size_t count, size_t bound);
