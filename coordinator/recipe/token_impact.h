/* Which tokens of a vocabulary gain by tuning for long text, from the scores of two models (Eq. 3
 * of LongRecipe): in each sample the tokens whose score rose most are its top; an id is impactful
 * where it is in the top often enough.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "proto/train/record_file.h"
#include "proto/train/score_file.h"

struct token_impact_row {
    int64_t occurrences;
    int64_t in_top;
    double difference; /* sum of S_H' - S_H over the occurrences */
};

struct token_impact {
    int64_t vocab;
    struct token_impact_row *rows; /* [vocab] */
};

/* Of files that belong together: INVALID_ARGUMENT where they do not. `top` is the part of a
 * sample's tokens that is its top, rounded up. */
MUST_CHECK enum status token_impact_init(struct token_impact *impact,
                                         const struct record_file *samples,
                                         const struct record_file *scores, double top);

/* Also of {0}. */
void token_impact_deinit(struct token_impact *impact);

/* Whether at least `share` of the occurrences are in the top; not where there are none. */
bool token_impact_is_impactful(const struct token_impact_row *row, double share);

/* By how much a token of a sample must have gained to be in its top; of equal ones all are. The
 * first token, which nothing predicts, is left out. `room` has place for as many as the sample. */
float token_impact_least(const struct scores *scores, double top, float *room);
