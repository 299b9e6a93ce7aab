/* Owns nothing. */
#include "coordinator/eval/eval_interval.h"

#include <math.h>

static const double z = 1.959963984540054; /* of 95 %, two-sided */

struct eval_interval eval_interval_of(double sum, size_t count)
{
    if (count == 0)
        return (struct eval_interval){.mean = 0};
    const double n = (double)count, p = sum / n;
    const double centre = (p + z * z / (2 * n)) / (1 + z * z / n);
    const double half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return (struct eval_interval){
        .mean = p, .low = fmin(fmax(centre - half, 0), p), .high = fmax(fmin(centre + half, 1), p)};
}

double eval_interval_sign_test(size_t wins, size_t losses)
{
    const size_t fewer = wins < losses ? wins : losses, count = wins + losses;
    double sum = 0;
    for (size_t k = 0; k <= fewer; k++)
        sum += exp(lgamma((double)count + 1) - lgamma((double)k + 1) -
                   lgamma((double)(count - k) + 1) - (double)count * log(2));
    return fmin(2 * sum, 1);
}
