/* Positions that a caller gives the tokens of a prompt, where rope sees them in place of their
 * indices; an answer's tokens follow the last one by ones. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/plan/method.h"
#include "proto/status.h"

/* Above the largest: sums stay far from overflow. */
#define GIVEN_POSITIONS_END ((int64_t)1 << 40)

/* INVALID_ARGUMENT where they are not as many as the tokens, out of range or not strictly
 * increasing, or where the method is not rope, whose keys are all seen at the distance of their
 * positions: the bands of others go by indices. */
MUST_CHECK enum status given_positions_check(const int64_t *positions, size_t count, int64_t tokens,
                                             const struct method *method);

/* Of the token of an index, by the positions of the first `count`, which are not none. */
static inline int64_t given_positions_at(const int64_t *positions, int64_t count, int64_t index)
{
    return index < count ? positions[index] : positions[count - 1] + (index - count + 1);
}
