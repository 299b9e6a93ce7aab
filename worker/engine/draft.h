/* What an answer may go on with, read off the sequence itself: where its last tokens stood before,
 * those that followed them there. Pure: numbers, no model, no clock.
 *
 * An index says of every run of DRAFT_GRAM tokens where it ended last. Once the answer follows an
 * earlier place, it does so until it leaves it; then the last tokens are looked up anew.
 */
#pragma once

#include <stdint.h>

/* Tokens that must have stood before, one behind the other. */
enum { DRAFT_GRAM = 3 };

struct draft;

/* Lays one into `memory` (borrowed, `bytes` long, 64-byte aligned; memory_draft_bytes). */
struct draft *draft_init(void *memory, int64_t bytes);

/* The sequence is ids [end] now; what was seen before has not changed. */
void draft_see(struct draft *draft, const int32_t *ids, int64_t end);

/* The answer begins behind what was seen: from here on tokens tell how good guesses are. */
void draft_begin(struct draft *draft);

/* The chance that the d-th drafted token comes when those before it came, d from 1 on: how often
 * tokens came as they were expected that stood as far behind a place where the answer had begun to
 * follow an earlier one. 0 where nothing is expected. */
double draft_chance(const struct draft *draft, int64_t d);

/* The tokens that may follow what was seen, `most` of them at most: how many, 0 where nothing is
 * known. `ids` are the sequence's. */
int64_t draft_propose(const struct draft *draft, int32_t *drafted, const int32_t *ids,
                      int64_t most);
