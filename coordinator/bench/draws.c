/* Owns nothing. Promises the same numbers for the same seed on every machine. */
#include "coordinator/bench/draws.h"

#include <math.h>

uint64_t draws_bits(struct draws *draws)
{
    uint64_t z = draws->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double draws_uniform(struct draws *draws)
{
    return (double)(draws_bits(draws) >> 11) * 0x1p-53;
}

double draws_wait(struct draws *draws, double rate)
{
    return -log1p(-draws_uniform(draws)) / rate;
}
