/* Owns nothing. */
#include "worker/trainer/learning_rate.h"

#include <math.h>

#define PI 3.14159265358979323846

double learning_rate_at(const struct learning_rate *schedule, int64_t step)
{
    const double falling = (double)(schedule->steps - schedule->warmup_steps);
    const double gone = (double)(step - schedule->warmup_steps);
    const double final_part = schedule->final_part;
    if (step <= schedule->warmup_steps)
        return schedule->rate * (double)step / (double)schedule->warmup_steps;
    const double x = gone < falling ? gone / falling : 1;
    switch (schedule->decay) {
    case LEARNING_RATE_CONSTANT:
        return schedule->rate;
    case LEARNING_RATE_LINEAR:
        return schedule->rate * (1 - (1 - final_part) * x);
    case LEARNING_RATE_COSINE:
        return schedule->rate * (final_part + (1 - final_part) * (1 + cos(PI * x)) / 2);
    }
    return schedule->rate;
}
