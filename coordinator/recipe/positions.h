/* Positions of a sample's tokens: Algorithm 1 of LongRecipe (docs/methods.md) and the settings that
 * it is compared with. They follow from the tokens, the seed and the sample's number, so that they
 * are the same whoever makes them, and in which sequence. All begin at 0 and ascend below the
 * target.
 *
 *   plain, full  0, 1, 2, ...
 *   recipe       sentence by sentence, with random gaps between them that fill the target
 *   rpes         a random ascending choice of the target's positions, the first one 0
 *   pose         two chunks, with one random gap between them
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/recipe/sentences.h"
#include "proto/train/train_config.h"

struct positions_args {
    enum train_setting setting;
    int64_t target;    /* of recipe, rpes, pose: at least `count` */
    bool right_points; /* of recipe: the first 1 .. (count + 1) / 2 tokens have plain positions */
    uint64_t seed;
    const struct sentences *sentences; /* of recipe */
};

/* positions [count], of sample `number` with `ids` [count]. */
void positions_make(int32_t *positions, const struct positions_args *args, const int32_t *ids,
                    int64_t count, int64_t number);

/* For tests: the third step of the algorithm, the positions of `count` tokens whose sentences begin
 * at the `drawn` slots, [n], ascending, n the number of sentences; the first is taken to be 0. */
void positions_place(int32_t *positions, const struct sentences *sentences, const int32_t *ids,
                     int64_t count, const int64_t *drawn);

/* The first `point` tokens get plain positions. */
void positions_reset(int32_t *positions, int64_t count, int64_t point);
