/* Owns the formula of a longer window's base. */
#include "proto/model/rope_base.h"

#include <assert.h>
#include <math.h>

double rope_base_stretched(double base, int head_dim, int64_t trained_tokens, double factor,
                           int64_t tokens)
{
    assert(head_dim > 2 && factor >= 1 && trained_tokens > 0 && tokens >= trained_tokens);
    const double stretch = factor * (double)tokens / (double)trained_tokens - (factor - 1);
    return (double)(float)(base * pow(stretch, head_dim / (head_dim - 2.0)));
}
