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

static inline double clock_now_seconds(void)
{
    return (double)clock_now_ns() * 1e-9;
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

/* How long its owner has watched for something. A process that is stopped for a while, or that the
 * host lets wait, does not see what came meanwhile: such a pause counts as one look, so that what
 * has arrived is read before anybody is judged by it. */
struct clock_watch {
    int64_t looked_ns, watched_ns;
};

static inline void clock_watch_start(struct clock_watch *watch)
{
    *watch = (struct clock_watch){.looked_ns = clock_now_ns()};
}

/* To be called at each look; returns the milliseconds watched since the start. A look counts for at
 * most `most_ms`, which is somewhat longer than looks are apart. */
static inline int64_t clock_watch_look(struct clock_watch *watch, int64_t most_ms)
{
    int64_t now_ns = clock_now_ns();
    int64_t since_ns = now_ns - watch->looked_ns;
    watch->watched_ns += since_ns < most_ms * 1000000 ? since_ns : most_ms * 1000000;
    watch->looked_ns = now_ns;
    return watch->watched_ns / 1000000;
}
