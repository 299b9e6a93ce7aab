/* How far log-probabilities of the real model may be from the reference values
 * (tests/ranks/data/golden_logits.json), per text and method. */
#pragma once

#include <stdint.h>

struct golden_tolerance {
    double token;       /* of one log-probability */
    double rms;         /* over the text */
    double mean_of_one; /* of the mean: this / sqrt(scored tokens) */
    double mean;        /* + this */
    double margin;      /* greedy ids are the same wherever the reference's margin is above it */
};

enum golden_arithmetic {
    GOLDEN_FLOAT32,       /* operands, cache and sums */
    GOLDEN_BF16_CACHE,    /* cached keys and values, and queries, in bf16 */
    GOLDEN_BF16_PRODUCTS, /* all operands of products in bf16 */
};

struct kernels;
enum golden_arithmetic golden_arithmetic_of(const struct kernels *kernels);

/* Of the text with so many tokens, by the method as the command line spells it. */
const struct golden_tolerance *golden_tolerance_of(enum golden_arithmetic arithmetic,
                                                   int64_t tokens, const char *method);
