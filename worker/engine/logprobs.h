/* The log-probabilities that go with a chosen token: by the model's own logits, before anything
 * that the sampler does to them, as a text's scores are. */
#pragma once

#include <stdint.h>

#include "proto/sampling.h"

struct logprobs {
    float chosen; /* natural, of the chosen token; -FLT_MAX where it is below every float */
    int count;    /* of the likeliest tokens, in order; of two alike the lower id first */
    int32_t ids[SAMPLING_LIKELIEST_MAX];     /* [count] */
    float likeliest[SAMPLING_LIKELIEST_MAX]; /* [count], natural */
};

/* Of finite logits [vocab]; `count` is at most the vocabulary and SAMPLING_LIKELIEST_MAX. */
void logprobs_make(struct logprobs *logprobs, const float *logits, int64_t vocab, int32_t chosen,
                   int count);
