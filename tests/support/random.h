/* Random numbers for tests: the same on every machine for the same seed. */
#pragma once

#include <stdint.h>

/* What the state moves by with each number: that of number n is n steps on. */
#define RANDOM_STEP UINT64_C(0x9e3779b97f4a7c15)

struct random {
    uint64_t state;
};

/* A uniform whole number in [first, end). */
int64_t random_between(struct random *random, int64_t first, int64_t end);

/* Uniform in [-1, 1). */
float random_float(struct random *random);

/* Normal, mean 0, variance 1. */
float random_normal(struct random *random);
