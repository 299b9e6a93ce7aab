/* How sure a mean of scores is. Pure. */
#pragma once

#include <stddef.h>

struct eval_interval {
    double mean, low, high; /* 0 <= low <= mean <= high <= 1 */
};

/* Wilson's interval of 95 % (E. B. Wilson, JASA 22, 1927) of `count` scores in [0, 1] with that
 * sum. Scores between 0 and 1 vary less than those that are one of both, so that it holds for them
 * too. All 0 where there are none. */
struct eval_interval eval_interval_of(double sum, size_t count);

/* The two-sided sign test: how likely a split of `wins` to `losses`, or a more uneven one, is where
 * each is as likely. Exact; 1 where there are none. */
double eval_interval_sign_test(size_t wins, size_t losses);
