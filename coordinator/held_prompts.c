/* Owns a table of hashes. Promises the same time for each panel, and no memory beside the table. */
#include "coordinator/held_prompts.h"

static uint64_t place_of(uint64_t hash)
{
    return hash % HELD_PROMPTS_PANELS;
}

void held_prompts_add(struct held_prompts *held, const struct panel_chain *chain)
{
    for (int64_t p = 0; p < chain->panels; p++)
        held->hashes[place_of(chain->hashes[p])] = chain->hashes[p];
}

int64_t held_prompts_shared(const struct held_prompts *held, const struct panel_chain *chain)
{
    const int64_t most = panel_chain_reusable(chain);
    int64_t shared = 0;
    while (shared < most && held->hashes[place_of(chain->hashes[shared])] == chain->hashes[shared])
        shared++;
    return shared;
}
