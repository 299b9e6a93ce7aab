/* A small file of saved keys, for tests of what reads such files. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/cache_file/cache_header.h"
#include "tests/support/random.h"

enum { CACHE_EXAMPLE_TOKENS_MAX = 700 };

struct cache_example {
    struct cache_header header;
    int32_t ids[CACHE_EXAMPLE_TOKENS_MAX];
    uint64_t seed;
};

/* Keys of so many tokens by `method`, with a short document. Its stores follow from that: all
 * panels, or, where it forgets keys, those from first_panel on and sinks. */
void cache_example_make(struct cache_example *example, const char *method, enum choice_cache cache,
                        int64_t tokens, int64_t first_panel);

/* The elements of a block, as it is in a pool: like keys, of which exponents are alike. */
void cache_example_block(const struct cache_example *example, uint8_t *block, int64_t number);

/* Writes the file with its blocks in an order of its own. */
void cache_example_write(const struct cache_example *example, const char *path);

/* Makes the digests of header and trailer right, as far as a mutation left them to be found, so
 * that what it did is read. */
void cache_example_mend(uint8_t *data, size_t bytes);
