/* Which panels of prompts a worker group was given lately, so that a prompt that begins like one of
 * them goes where its keys and values lie. A guess: the group may have let go of them since. */
#pragma once

#include <stdint.h>

#include "coordinator/batch/panel_chain.h"

/* Of so many panels, a million tokens; older ones give way. */
enum { HELD_PROMPTS_PANELS = 1 << 14 };

/* {0} holds nothing. */
struct held_prompts {
    uint64_t hashes[HELD_PROMPTS_PANELS]; /* each at its own number modulo the count; 0: none */
};

void held_prompts_add(struct held_prompts *held, const struct panel_chain *chain);

/* How many panels the prompt could reuse there. */
int64_t held_prompts_shared(const struct held_prompts *held, const struct panel_chain *chain);
