/* A prompt's full panels, each known by a hash of everything up to its end: two prompts share
 * exactly the panels whose hashes are equal, and where panel p is equal, all before it are.
 *
 * A group that has read a prompt holds its full panels; a later prompt reuses those that it shares,
 * but never its own last token, so at most (tokens - 1) / PANEL_CHAIN_TOKENS of its own.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum {
    PANEL_CHAIN_TOKENS = 64, /* of a panel, as the engine's cache has it */
    /* A key has the hashes at depths 1, 2, 4, ... panels, and the length. */
    PANEL_CHAIN_DEPTHS = 20,
    PANEL_CHAIN_KEY_BYTES = (PANEL_CHAIN_DEPTHS + 1) * 8,
};

/* {0} has no panels. */
struct panel_chain {
    uint64_t *hashes; /* [panels]; NULL where there are none */
    int64_t panels;   /* full ones */
    int64_t tokens;   /* of the prompt */
};

/* `root` is what must be equal beside the ids: tenant and method, as text. The caller calls
 * panel_chain_deinit. */
MUST_CHECK enum status panel_chain_init(struct panel_chain *chain, const char *root,
                                        const int32_t *ids, size_t count);
void panel_chain_deinit(struct panel_chain *chain);

/* How many panels of others it can reuse at most. */
int64_t panel_chain_reusable(const struct panel_chain *chain);

/* How many panels both begin with. */
int64_t panel_chain_shared(const struct panel_chain *a, const struct panel_chain *b);

/* Bytes whose order (memcmp) puts prompts with a long shared beginning side by side, the shorter
 * first. Returns how many. */
size_t panel_chain_key(const struct panel_chain *chain, uint8_t key[PANEL_CHAIN_KEY_BYTES]);
