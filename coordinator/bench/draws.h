/* Numbers by chance that anybody can draw again: SplitMix64 (Steele, Lea and Flood, "Fast
 * splittable pseudorandom number generators", OOPSLA 2014). */
#pragma once

#include <stdint.h>

struct draws {
    uint64_t state; /* the seed, at first */
};

/* 64 bits: state += 0x9e3779b97f4a7c15; z = state; z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
 * z = (z ^ z >> 27) * 0x94d049bb133111eb; z ^ z >> 31. */
uint64_t draws_bits(struct draws *draws);

/* In [0, 1): the upper 53 bits over 2^53. By itself for tests. */
double draws_uniform(struct draws *draws);

/* A wait until the next of events that come independently, `rate` of them a unit of time:
 * -ln(1 - uniform) / rate. */
double draws_wait(struct draws *draws, double rate);
