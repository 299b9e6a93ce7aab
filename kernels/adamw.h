/* AdamW with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101) and corrected biases,
 * for any slice of the parameters. With g = gradient_scale * gradient[i], step counted from 1:
 *
 *   m = beta1 m + (1 - beta1) g            v = beta2 v + (1 - beta2) g^2
 *   w = w (1 - learning_rate * weight_decay)
 *   w = w - learning_rate / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + epsilon)
 *
 * float32, each element by itself: the result does not depend on how a vector is cut into slices.
 *
 * sum_of_squares(x, count): in float64, in one sequence of additions that count fixes; a gradient's
 * norm is its root.
 */
#pragma once

#include <math.h>
#include <stdint.h>

struct adamw_args {
    float *weights;  /* [count] */
    float *moment;   /* m */
    float *variance; /* v */
    const float *gradient;
    int64_t count;
    int64_t step;         /* from 1 */
    float gradient_scale; /* of clipping; 1: none */
    float learning_rate, beta1, beta2, epsilon, weight_decay;
};

/* What is the same for all elements. */
struct adamw_factors {
    float keep;         /* 1 - learning_rate * weight_decay */
    float rate;         /* learning_rate / (1 - beta1^step) */
    float inverse_root; /* 1 / sqrt(1 - beta2^step) */
};

static inline struct adamw_factors adamw_factors(const struct adamw_args *args)
{
    const double step = (double)args->step, rate = (double)args->learning_rate;
    return (struct adamw_factors){
        .keep = (float)(1 - rate * (double)args->weight_decay),
        .rate = (float)(rate / (1 - pow((double)args->beta1, step))),
        .inverse_root = (float)(1 / sqrt(1 - pow((double)args->beta2, step))),
    };
}
