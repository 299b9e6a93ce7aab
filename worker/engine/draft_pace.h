/* How many tokens to draft: as many as pay. Pure.
 *
 * A step of n rows takes  base_seconds x (1 + row_share x (n - 1)). With d drafted tokens it makes
 * 1 + c1 + c1 c2 + ... + c1 .. cd  of them, where ck is the chance that the k-th comes when those
 * before it came (draft_chance). The d is taken that makes the most tokens a second, 0 where that
 * is none. Both are measured: the seconds of each step, and each token against what was expected in
 * its place, drafted or not; so no token is drafted to find out.
 */
#pragma once

#include <stdint.h>

#include "worker/engine/draft.h"

/* What steps were measured to take. Starts zeroed: nothing is known. */
struct draft_pace {
    double base_seconds; /* of a step of one row */
    double row_share;    /* of it, that each further row takes */
    int64_t steps;       /* since one without drafts */
};

/* A step of so many rows took so long, of which `drafted` were drafted. */
void draft_pace_note(struct draft_pace *pace, int64_t rows, int64_t drafted, double seconds);

/* How many tokens to draft behind the answer in a step of `rows` other rows, its own among them;
 * `most` at most. */
int64_t draft_pace_length(const struct draft_pace *pace, const struct draft *draft, int64_t rows,
                          int64_t most);
