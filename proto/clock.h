/* Time for deadlines: nanoseconds of the monotonic clock, and waits on a condition that end by
 * it. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define CLOCK_NEVER_NS INT64_MAX

static inline int64_t clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t clock_after_ms(int64_t milliseconds)
{
    return clock_now_ns() + milliseconds * 1000000;
}

static inline double clock_seconds_since(int64_t start_ns)
{
    return (double)(clock_now_ns() - start_ns) * 1e-9;
}

/* False when the deadline has passed. As with every condition, the caller loops. */
static inline bool clock_wait(pthread_cond_t *condition, pthread_mutex_t *lock, int64_t deadline_ns)
{
    if (clock_now_ns() >= deadline_ns)
        return false;
    struct timespec until = {deadline_ns / 1000000000, deadline_ns % 1000000000};
    pthread_cond_clockwait(condition, lock, CLOCK_MONOTONIC, &until);
    return true;
}
