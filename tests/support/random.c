/* Owns the generator: splitmix64, whose every seed is a good one. */
#include "tests/support/random.h"

#include <math.h>

static uint64_t next(struct random *random)
{
    uint64_t z = random->state += RANDOM_STEP;
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t random_between(struct random *random, int64_t first, int64_t end)
{
    return first + (int64_t)(next(random) % (uint64_t)(end - first));
}

float random_float(struct random *random)
{
    return (float)((double)(next(random) >> 40) * 0x1p-23 - 1);
}

float random_normal(struct random *random)
{
    double u = ((double)(next(random) >> 11) + 1) * 0x1p-53;
    double v = (double)(next(random) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}
