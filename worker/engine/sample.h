/* Choosing the next token from logits, on rank 0.
 *
 * Order: penalties and biases (proto/sampling.h), temperature, top-k, top-p, min-p, draw.
 * Temperature 0 is greedy: the largest logit after penalties, the smaller id on a tie. Draws come
 * from a PCG32 stream whose state is the mixed seed, one number a token, so that the same seed and
 * logits give the same tokens.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/logits_survey.h"
#include "proto/sampling.h"
#include "proto/status.h"

struct sampler;

/* Bytes that sampler_init wants; a multiple of 64. */
size_t sampler_bytes(int64_t vocab);

/* Lays a sampler into `memory` (borrowed, sampler_bytes long, 64-byte aligned). Biases are of
 * tokens below vocab; they are copied. */
struct sampler *sampler_init(void *memory, int64_t vocab, const struct sampling *sampling);

/* Counts these ids as seen, for the repetition penalty. Ids are below vocab. */
void sampler_saw(struct sampler *sampler, const int32_t *ids, int64_t count);

/* None of these ids, SAMPLE_HELD_MAX at most, is chosen for the first `tokens` tokens. Called
 * once at most, before the first; without effect where they are the whole vocabulary. */
enum { SAMPLE_HELD_MAX = 32 };
void sampler_hold_back(struct sampler *sampler, const int32_t *ids, int count, int64_t tokens);

/* The temperature that sampler_choose wants its survey made at; above 0. */
double sampler_temperature(const struct sampler *sampler);

/* Picks the id that sampler_next would pick of the surveyed logits, in every case the same one.
 * *chosen is false, and nothing has happened, where the survey does not tell: the draw may lie
 * behind its candidates, a penalty or a bias may raise others above them, or nothing was surveyed
 * (count 0). Then sampler_next must have the logits. INTERNAL when a logit is not finite. */
MUST_CHECK enum status sampler_choose(struct sampler *sampler, int32_t *id, bool *chosen,
                                      const struct logits_survey *survey);

/* Picks one id of `logits` [vocab]. INTERNAL when a logit is not finite. */
MUST_CHECK enum status sampler_next(struct sampler *sampler, int32_t *id, const float *logits);
