/* Owns nothing. Promises the same numbers for the same key on every machine. */
#include "coordinator/eval/eval_random.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEY_BYTES = 160 };

static const uint64_t multiplier = 6364136223846793005u;
static const uint64_t fnv_basis = 14695981039346656037u, fnv_prime = 1099511628211u;

void eval_random_seed(struct eval_random *random, uint64_t state, uint64_t sequence)
{
    random->state = 0;
    random->increment = sequence << 1 | 1;
    (void)eval_random_bits(random);
    random->state += state;
    (void)eval_random_bits(random);
}

void eval_random_begin(struct eval_random *random, const struct eval_random_key *key,
                       const char *part)
{
    char text[KEY_BYTES];
    uint64_t hash = fnv_basis;
    const int bytes = snprintf(text, sizeof text, "%s/%" PRId64 "/%" PRId64 "/%s", key->task,
                               key->length, key->index, part);
    assert(bytes > 0 && bytes < KEY_BYTES);
    for (int i = 0; i < bytes; i++)
        hash = (hash ^ (unsigned char)text[i]) * fnv_prime;
    eval_random_seed(random, key->seed, hash);
}

uint32_t eval_random_bits(struct eval_random *random)
{
    const uint64_t old = random->state;
    const uint32_t shifted = (uint32_t)((old >> 18 ^ old) >> 27), turn = (uint32_t)(old >> 59);
    random->state = old * multiplier + random->increment;
    return shifted >> turn | shifted << (-turn & 31);
}

uint32_t eval_random_below(struct eval_random *random, uint32_t bound)
{
    assert(bound > 0);
    const uint32_t least = -bound % bound;
    for (;;) {
        const uint32_t bits = eval_random_bits(random);
        if (bits >= least)
            return bits % bound;
    }
}

static void exchange(uint32_t *entries, size_t a, size_t b)
{
    const uint32_t kept = entries[a];
    entries[a] = entries[b];
    entries[b] = kept;
}

void eval_random_shuffle(struct eval_random *random, uint32_t *entries, size_t count)
{
    for (size_t i = count; i > 1; i--)
        exchange(entries, i - 1, eval_random_below(random, (uint32_t)i));
}

static int ascending(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

void eval_random_choose(struct eval_random *random, uint32_t *entries, size_t count, size_t bound)
{
    assert(count <= bound && bound <= UINT32_MAX);
    for (size_t i = 0; i < bound; i++)
        entries[i] = (uint32_t)i;
    for (size_t i = 0; i < count; i++)
        exchange(entries, i, i + eval_random_below(random, (uint32_t)(bound - i)));
    if (count > 0)
        qsort(entries, count, sizeof *entries, ascending);
}
