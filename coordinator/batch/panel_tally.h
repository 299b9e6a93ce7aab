/* How many tokens many prompts take together, where each panel that several share is computed once:
 * what an estimate promises, and what the counters of a group that keeps all panels say. Pure, in
 * any order of the prompts.
 *
 * A prompt reuses its full panels but for its last token (panel_chain.h). A prompt that ends with a
 * panel computes that one itself; prompts that go on behind it reuse it, as they come after it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/panel_chain.h"
#include "proto/status.h"

struct panel_tally;

/* Remembers at most `panels_max` different panels: what comes then counts as shared with nobody. */
MUST_CHECK enum status panel_tally_create(struct panel_tally **tally, int64_t panels_max);

/* Accepts NULL. */
void panel_tally_destroy(struct panel_tally *tally);

/* `*cached_tokens`: so many of its first were there already. */
MUST_CHECK enum status panel_tally_add(struct panel_tally *tally, int64_t *cached_tokens,
                                       const struct panel_chain *chain);

int64_t panel_tally_prompt_tokens(const struct panel_tally *tally);
int64_t panel_tally_unique_tokens(const struct panel_tally *tally);

/* Whether it had to forget some: unique tokens are then an upper bound. */
bool panel_tally_is_full(const struct panel_tally *tally);
