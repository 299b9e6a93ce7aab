#include "tests/support/plain_survey.h"

#include <math.h>
#include <string.h>

/* Ids come in ascending order, so an equal logit goes behind those that are there. */
static void insert(struct logits_survey *survey, struct logits_candidate candidate)
{
    struct logits_candidate *list = survey->candidates;
    int at = survey->count;
    while (at > 0 && candidate.logit > list[at - 1].logit)
        at--;
    if (at == LOGITS_CANDIDATES)
        return;
    if (survey->count < LOGITS_CANDIDATES)
        survey->count++;
    memmove(&list[at + 1], &list[at], (size_t)(survey->count - 1 - at) * sizeof *list);
    list[at] = candidate;
}

void plain_survey(struct logits_survey *survey, const float *logits, int64_t vocab,
                  double temperature)
{
    survey->non_finite = -1;
    survey->count = 0;
    survey->total = 0;
    for (int64_t id = vocab - 1; id >= 0; id--)
        if (!isfinite(logits[id]))
            survey->non_finite = (int32_t)id;
    for (int64_t id = 0; id < vocab; id++)
        insert(survey, (struct logits_candidate){logits[id], (int32_t)id});
    const double best = (double)survey->candidates[0].logit;
    for (int64_t id = 0; id < vocab; id++)
        survey->total += exp(((double)logits[id] - best) / temperature);
}
