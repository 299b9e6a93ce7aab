/* Owns the counters. Promises that what is told after a look ends the wait that follows it. */
#include "coordinator/batch/store_waits.h"

#include <pthread.h>
#include <stdlib.h>

#include "proto/clock.h"

enum { LINES = STORE_WAITS, COUNTERS };

struct store_waits {
    pthread_mutex_t lock;
    uint64_t counts[COUNTERS];
    pthread_cond_t changed[COUNTERS];
};

enum status store_waits_create(struct store_waits **waits)
{
    struct store_waits *w = calloc(1, sizeof *w);
    if (!w)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store");
    pthread_mutex_init(&w->lock, NULL);
    for (int i = 0; i < COUNTERS; i++) {
        pthread_cond_init(&w->changed[i], NULL);
        w->counts[i] = 1; /* somebody who has seen nothing does not sleep */
    }
    *waits = w;
    return STATUS_OK;
}

void store_waits_destroy(struct store_waits *waits)
{
    if (!waits)
        return;
    for (int i = 0; i < COUNTERS; i++)
        pthread_cond_destroy(&waits->changed[i]);
    pthread_mutex_destroy(&waits->lock);
    free(waits);
}

static void count(struct store_waits *waits, int counter)
{
    waits->counts[counter]++;
    pthread_cond_broadcast(&waits->changed[counter]);
}

void store_waits_tell(struct store_waits *waits, uint64_t touched, bool lines)
{
    if (!touched && !lines)
        return;
    pthread_mutex_lock(&waits->lock);
    for (int i = 0; i < STORE_WAITS; i++)
        if (touched >> i & 1)
            count(waits, i);
    if (lines)
        count(waits, LINES);
    pthread_mutex_unlock(&waits->lock);
}

static void wait_for(struct store_waits *waits, int counter, uint64_t *seen, int64_t timeout_ms)
{
    const int64_t deadline_ns = clock_after_ms(timeout_ms);
    pthread_mutex_lock(&waits->lock);
    while (waits->counts[counter] == *seen &&
           clock_wait(&waits->changed[counter], &waits->lock, deadline_ns))
        continue;
    *seen = waits->counts[counter];
    pthread_mutex_unlock(&waits->lock);
}

void store_waits_for_lines(struct store_waits *waits, uint64_t *seen, int64_t timeout_ms)
{
    wait_for(waits, LINES, seen, timeout_ms);
}

void store_waits_for_batch(struct store_waits *waits, int64_t number, uint64_t *seen,
                           int64_t timeout_ms)
{
    wait_for(waits, (int)(number % STORE_WAITS), seen, timeout_ms);
}
