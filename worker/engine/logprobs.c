/* Owns nothing. Promises float64 sums: a value is right to the last digit of its float. */
#include "worker/engine/logprobs.h"

#include <float.h>
#include <math.h>

static double log_sum_exp(const float *logits, int64_t vocab)
{
    float largest = logits[0];
    double sum = 0;
    for (int64_t i = 1; i < vocab; i++)
        largest = logits[i] > largest ? logits[i] : largest;
    for (int64_t i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - (double)largest);
    return (double)largest + log(sum);
}

/* A difference of finite logits may be below every float. */
static float natural(float logit, double sum)
{
    return (float)fmax((double)logit - sum, -(double)FLT_MAX);
}

void logprobs_make(struct logprobs *logprobs, const float *logits, int64_t vocab, int32_t chosen,
                   int count)
{
    int found = 0;
    for (int64_t i = 0; i < vocab && count > 0; i++) {
        if (found == count && !(logits[i] > logits[logprobs->ids[count - 1]]))
            continue;
        int place = found < count ? found++ : count - 1;
        for (; place > 0 && logits[i] > logits[logprobs->ids[place - 1]]; place--)
            logprobs->ids[place] = logprobs->ids[place - 1];
        logprobs->ids[place] = (int32_t)i;
    }
    const double sum = log_sum_exp(logits, vocab);
    logprobs->chosen = natural(logits[chosen], sum);
    logprobs->count = found;
    for (int n = 0; n < found; n++)
        logprobs->likeliest[n] = natural(logits[logprobs->ids[n]], sum);
}
