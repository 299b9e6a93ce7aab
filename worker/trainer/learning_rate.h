/* The learning rate of each step: it rises in a line, then stays or falls. Pure.
 *
 * With steps counted from 1, W the warm-up's steps, S all steps and f the final part:
 *
 *   s <= W:  rate s / W
 *   else, with x = (s - W) / (S - W):
 *     constant  rate
 *     linear    rate (1 - (1 - f) x)
 *     cosine    rate (f + (1 - f) (1 + cos(pi x)) / 2)
 */
#pragma once

#include <stdint.h>

enum learning_rate_decay { LEARNING_RATE_CONSTANT, LEARNING_RATE_LINEAR, LEARNING_RATE_COSINE };

struct learning_rate {
    double rate;
    double final_part; /* of `rate`, at the last step */
    int64_t warmup_steps, steps;
    enum learning_rate_decay decay;
};

/* `step` from 1; one beyond the last has the last one's. */
double learning_rate_at(const struct learning_rate *schedule, int64_t step);
