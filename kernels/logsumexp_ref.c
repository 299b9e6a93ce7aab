/* logsumexp, plainly, but that 0 times what is not finite is a NaN. All variants share it: the sum
 * is float64, and one row of logits a token is little work. */
#include <assert.h>
#include <math.h>

#include "kernels/variants.h"

static double logsumexp(const float *x, int64_t count)
{
    assert(count >= 1);
    float max = x[0];
    for (int64_t i = 1; i < count; i++)
        max = fmaxf(max, x[i]);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)x[i] - (double)max) + 0 * (double)x[i];
    return (double)max + log(sum);
}

void logsumexp_ref_install(struct kernels *kernels)
{
    kernels->logsumexp = logsumexp;
}
