/* What a choice of the next token needs of its logits: far fewer bytes than the logits. Plain data,
 * which a GPU fills and the host reads. */
#pragma once

#include <stdint.h>

enum { LOGITS_CANDIDATES = 128 };

struct logits_candidate {
    float logit;
    int32_t id;
};

/* Of logits [vocab] at a temperature above 0. One logit goes before another if it is larger, or
 * equal with the lower id; -0 equals 0. */
struct logits_survey {
    /* sum over the vocabulary of e^((logit - candidates[0].logit) / temperature), added in float64;
     * within LOGITS_TOTAL_SLACK of it, relatively. */
    double total;
    /* The lowest id whose logit is NaN or infinite, else -1; where it is not -1, all the rest is
     * of no meaning. */
    int32_t non_finite;
    int32_t count; /* min(vocab, LOGITS_CANDIDATES) */
    /* [count] those that go first, in order; behind them anything. */
    struct logits_candidate candidates[LOGITS_CANDIDATES];
};

/* 2^23 additions of rounded terms are off by 2^-30 of their sum at most. */
#define LOGITS_TOTAL_SLACK 1e-9
