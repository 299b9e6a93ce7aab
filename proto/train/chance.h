/* Numbers by chance that follow from a seed, what they are for, and a number: drawn by whom and in
 * which sequence does not matter. SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom
 * number generators", OOPSLA 2014). */
#pragma once

#include <stdint.h>

/* What is drawn; written into no file, but changing one changes all samples made with it. */
enum chance_use {
    CHANCE_ORDER = 1, /* of samples in an epoch */
    CHANCE_DOCUMENTS, /* their order */
    CHANCE_SHUFFLE,   /* of samples as they are written */
    CHANCE_SELECTION,
    CHANCE_POSITIONS,
    CHANCE_RIGHT_POINT
};

struct chance {
    uint64_t state;
};

struct chance chance_begin(uint64_t seed, enum chance_use use, uint64_t number);

/* Uniform in [0, end), each value exactly as likely as any other; end > 0. */
int64_t chance_below(struct chance *chance, int64_t end);

/* order [count] becomes a permutation of 0 .. count - 1 (Fisher and Yates). */
void chance_shuffle(struct chance *chance, int64_t *order, int64_t count);
