/* Owns the quantiles. */
#include "coordinator/bench/noise_band.h"

#include <assert.h>
#include <math.h>

/* Of Student's t at 0.995, by degrees of freedom from 1 on. More degrees count as the last. */
static const double quantiles[] = {
    63.657, 9.925, 5.841, 4.604, 4.032, 3.707, 3.499, 3.355, 3.250, 3.169,
    3.106,  3.055, 3.012, 2.977, 2.947, 2.921, 2.898, 2.878, 2.861, 2.845,
    2.831,  2.819, 2.807, 2.797, 2.787, 2.779, 2.771, 2.763, 2.756, 2.750,
};

enum { QUANTILES = sizeof quantiles / sizeof quantiles[0] };

/* Degrees of freedom are rounded down: the band is rather too wide. */
static double quantile(double degrees)
{
    const int whole = degrees < QUANTILES ? (int)degrees : QUANTILES;
    return quantiles[whole > 1 ? whole - 1 : 0];
}

/* Of the mean, squared. */
static double variance(const struct samples_summary *summary)
{
    return summary->deviation * summary->deviation / (double)summary->count;
}

static double half_width(const struct samples_summary *before, const struct samples_summary *after)
{
    const double a = variance(before), b = variance(after);
    if (a + b <= 0)
        return 0;
    const double degrees =
        (a + b) * (a + b) /
        (a * a / (double)(before->count - 1) + b * b / (double)(after->count - 1));
    return quantile(degrees) * sqrt(a + b);
}

struct noise_band noise_band_of(const struct samples_summary *before,
                                const struct samples_summary *after, bool more_is_better)
{
    assert(before->mean > 0 && after->mean > 0);
    struct noise_band found = {
        .change = after->mean / before->mean - 1,
        .band = (double)NAN,
        .verdict = NOISE_UNKNOWN,
    };
    if (before->count < 2 || after->count < 2)
        return found;
    found.band = half_width(before, after) / before->mean;
    if (fabs(found.change) <= found.band)
        found.verdict = NOISE_SAME;
    else
        found.verdict = (found.change > 0) == more_is_better ? NOISE_BETTER : NOISE_WORSE;
    return found;
}
