/* Cross-entropy, plainly. */
#include <math.h>
#include <string.h>

#include "kernels/variants.h"

/* The loss of one row. */
static double row_loss(float *logits, int32_t target, int64_t width, float weight)
{
    float top = -INFINITY;
    for (int64_t i = 0; i < width; i++)
        top = logits[i] > top ? logits[i] : top;
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += exp((double)logits[i] - (double)top);
    const double loss = log(sum) + (double)top - (double)logits[target];
    for (int64_t i = 0; i < width; i++) {
        const double p = exp((double)logits[i] - (double)top) / sum;
        logits[i] = (float)((p - (i == target)) * (double)weight);
    }
    return loss;
}

static double cross_entropy(const struct cross_entropy_args *args)
{
    double loss = 0;
    for (int64_t r = 0; r < args->rows; r++) {
        float *logits = args->logits + r * args->width;
        if (args->targets[r] >= 0)
            loss += row_loss(logits, args->targets[r], args->width, args->weight);
        else
            memset(logits, 0, (size_t)args->width * sizeof(float));
    }
    return loss;
}

void cross_entropy_ref_install(struct kernels *kernels)
{
    kernels->cross_entropy = cross_entropy;
}
