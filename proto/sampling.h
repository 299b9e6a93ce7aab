/* How the next token is chosen of its probabilities: what a client asks for, the coordinator
 * checks, and a worker takes. One table of ranges, so that both refuse the same in the same words.
 */
#pragma once

#include <stdint.h>

#include "proto/status.h"

/* Tokens whose log-probabilities are told beside the chosen one's. */
enum { SAMPLING_LIKELIEST_MAX = 20 };

/* Tokens whose logits a request moves by hand. */
enum { SAMPLING_BIASES_MAX = 1024 };

/* To one prompt. */
enum { SAMPLING_ANSWERS_MAX = 16 };

/* The ranges are those of sampling.c. What a logit is before temperature: penalised for repetition,
 * then  + bias - frequency_penalty x n - presence_penalty x (n > 0)  for a token that the answer
 * has n times. */
struct sampling {
    float temperature;        /* 0: greedy */
    int32_t top_k;            /* 0: all */
    float top_p;              /* 1: all */
    float min_p;              /* tokens below min_p times the best probability go; 0: none do */
    float repetition_penalty; /* 1: none. Seen tokens: divided if positive, else multiplied */
    uint64_t seed;
    float presence_penalty;  /* 0: none */
    float frequency_penalty; /* 0: none */
    int32_t bias_count;
    const int32_t *bias_ids; /* [bias_count]; borrowed. Of an id given twice the sum counts */
    const float *biases;     /* [bias_count] */
};

/* INVALID_ARGUMENT names the first field that is out of its range, with the range; *field is its
 * path in a request, "sampling.top_p". */
MUST_CHECK enum status sampling_check(const struct sampling *sampling, const char **field);

/* The same of the biases' ids, which are tokens of a vocabulary. */
MUST_CHECK enum status sampling_check_biases(const struct sampling *sampling, const char **field,
                                             int64_t vocab);

/* INVALID_ARGUMENT unless so many of `vocab` tokens can be told. */
MUST_CHECK enum status sampling_check_likeliest(int32_t likeliest, int64_t vocab);
