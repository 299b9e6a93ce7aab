/* Seeded random inputs of the plan's tests, and the definition of visibility they are judged by,
 * written from docs/methods.md pair by pair, without kernels/bands.c or proto/plan. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"

/* xorshift64*; the same sequence everywhere. */
struct cases_random {
    uint64_t state;
};

void cases_seed(struct cases_random *random, uint64_t seed);

/* From first to last, both included. */
int64_t cases_between(struct cases_random *random, int64_t first, int64_t last);

/* A valid table: both classes, query ranges, holes, windows, all kinds of frames, sinks in a frame
 * of their own. Distances up to `tokens`. */
void cases_bands(struct bands *bands, struct cases_random *random, int64_t tokens);

/* The same with distances in chunks too and up to BANDS_FRAMES_MAX key frames. */
void cases_wide_bands(struct bands *bands, struct cases_random *random, int64_t tokens);

/* Whether query i sees key j; then *distance is the effective distance and *key_frame where
 * from. */
bool cases_sees(const struct bands *bands, int64_t i, int64_t j, double *distance, int *key_frame);
