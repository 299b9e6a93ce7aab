/* AdamW, plainly, and what clipping asks of a gradient. */
#include "kernels/variants.h"

void adamw_ref(const struct adamw_args *args)
{
    const struct adamw_factors factors = adamw_factors(args);
    for (int64_t i = 0; i < args->count; i++) {
        const float g = args->gradient_scale * args->gradient[i];
        const float m = args->beta1 * args->moment[i] + (1 - args->beta1) * g;
        const float v = args->beta2 * args->variance[i] + (1 - args->beta2) * (g * g);
        const float divisor = sqrtf(v) * factors.inverse_root + args->epsilon;
        args->moment[i] = m;
        args->variance[i] = v;
        args->weights[i] = args->weights[i] * factors.keep - factors.rate * (m / divisor);
    }
}

static double sum_of_squares(const float *x, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

void adamw_ref_install(struct kernels *kernels)
{
    kernels->adamw = adamw_ref;
    kernels->sum_of_squares = sum_of_squares;
}
