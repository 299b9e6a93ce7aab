/* Whether two measurements of one quantity differ by more than their own noise. Pure.
 *
 * The band is half the width of the interval that holds the true difference of the means in 99 of
 * 100 cases, by Welch's t-test (B. L. Welch, Biometrika 34, 1947): deviations may differ, and few
 * samples make it wide. */
#pragma once

#include "coordinator/bench/samples.h"

enum noise_verdict {
    NOISE_SAME,    /* within the band */
    NOISE_BETTER,  /* beyond it */
    NOISE_WORSE,   /* beyond it */
    NOISE_UNKNOWN, /* one sample has no deviation: nothing follows */
};

struct noise_band {
    double change; /* of the mean, as a part of the first one: 0.1 is a tenth more */
    double band;   /* in the same measure; NaN where it is not known */
    enum noise_verdict verdict;
};

/* `more_is_better`: of a rate; false: of a time. Both means are above 0. */
struct noise_band noise_band_of(const struct samples_summary *before,
                                const struct samples_summary *after, bool more_is_better);
