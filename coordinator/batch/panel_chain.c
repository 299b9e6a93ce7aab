/* Owns the hashes of one prompt's panels. */
#include "coordinator/batch/panel_chain.h"

#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum status panel_chain_init(struct panel_chain *chain, const char *root, const int32_t *ids,
                             size_t count)
{
    struct panel_chain made = {.panels = (int64_t)count / PANEL_CHAIN_TOKENS,
                               .tokens = (int64_t)count};
    uint64_t above = XXH3_64bits(root, strlen(root));
    if (made.panels > 0) {
        made.hashes = malloc((size_t)made.panels * sizeof *made.hashes);
        if (!made.hashes)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the panels of %zu tokens", count);
    }
    for (int64_t p = 0; p < made.panels; p++) {
        above = XXH3_64bits_withSeed(ids + p * PANEL_CHAIN_TOKENS, PANEL_CHAIN_TOKENS * sizeof *ids,
                                     above);
        made.hashes[p] = above;
    }
    *chain = made;
    return STATUS_OK;
}

void panel_chain_deinit(struct panel_chain *chain)
{
    free(chain->hashes);
    *chain = (struct panel_chain){0};
}

int64_t panel_chain_reusable(const struct panel_chain *chain)
{
    return chain->tokens > 0 ? (chain->tokens - 1) / PANEL_CHAIN_TOKENS : 0;
}

int64_t panel_chain_shared(const struct panel_chain *a, const struct panel_chain *b)
{
    int64_t shared = 0, differ = (a->panels < b->panels ? a->panels : b->panels) + 1;
    while (differ - shared > 1) { /* `shared` panels are equal, `differ` are not */
        const int64_t middle = shared + (differ - shared) / 2;
        if (a->hashes[middle - 1] == b->hashes[middle - 1])
            shared = middle;
        else
            differ = middle;
    }
    return shared;
}

/* Eight bytes, the greatest first. */
static size_t put(uint8_t *to, uint64_t number)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(number >> (56 - 8 * i));
    return 8;
}

/* The length ends a key and is below any hash, so that of two prompts of which one begins with the
 * other's panels the shorter comes first: it leaves all of its panels to the longer one. */
size_t panel_chain_key(const struct panel_chain *chain, uint8_t key[PANEL_CHAIN_KEY_BYTES])
{
    size_t bytes = 0;
    for (int64_t depth = 1; depth <= chain->panels && bytes < 8 * PANEL_CHAIN_DEPTHS; depth *= 2)
        bytes += put(key + bytes, chain->hashes[depth - 1] | UINT64_C(1) << 63);
    return bytes + put(key + bytes, (uint64_t)chain->tokens);
}
