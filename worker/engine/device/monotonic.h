/* The clock of deadlines and health, and what a spinning core says to its neighbour. */
#pragma once

#include <stdint.h>
#include <time.h>

static inline uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)
static inline void monotonic_pause(void)
{
    __builtin_ia32_pause();
}
#else
static inline void monotonic_pause(void)
{
    __asm__ volatile("" ::: "memory");
}
#endif
