/* Owns a rank's compute threads. Promises that starting and ending a job costs about a microsecond
 * while the threads are awake, and that nobody waits for a thread which the system has not given a
 * core.
 *
 * The one word `left` counts the items of the running job not yet handed out. A thread claims the
 * job's next item by counting it down; a claim makes the job's fields stable, since the job cannot
 * end before the claimed item is finished. So a thread that wakes late finds 0, or items of a later
 * job, and either is right. `finished` counts items done or skipped; the job has ended when it
 * equals the job's items.
 *
 * A thread without work spins for SPIN_NS, yields until YIELD_NS, and sleeps. It announces that it
 * sleeps before its last look at `left`, and the caller looks for sleepers after it has set `left`:
 * one of the two sees the other. */
#include "worker/engine/device/thread_pool.h"

#include "proto/clock.h"
#include "worker/engine/device/cpu_pause.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SPIN_NS = 50000,
    YIELD_NS = 1000000,
    CLOCK_ROUNDS = 64, /* spins between looks at the clock */
};

struct worker {
    _Alignas(64) struct thread_pool *pool;
    pthread_t thread;
    int number;
    int processing_unit; /* -1: unpinned */
    _Atomic int64_t finished_ns;
};

struct thread_pool {
    /* The running job. Written before `left` is set, read after a claim. */
    thread_pool_work *work;
    void *context;
    size_t items;

    _Alignas(64) _Atomic size_t left;
    _Alignas(64) _Atomic size_t finished;
    _Atomic bool skipped;
    _Alignas(64) _Atomic bool running;
    _Atomic bool ending;
    _Atomic int sleepers;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool cores_short;
    int threads;
    struct worker *workers; /* [threads]; the caller is workers[0] */
};

static bool claim(struct thread_pool *pool, size_t *item)
{
    size_t left = atomic_load_explicit(&pool->left, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&pool->left, &left, left - 1,
                                                  memory_order_acquire, memory_order_relaxed)) {
            *item = pool->items - left;
            return true;
        }
    }
    return false;
}

static bool work_one(struct thread_pool *pool, struct worker *worker)
{
    size_t item;
    if (!claim(pool, &item))
        return false;
    pool->work(pool->context, worker->number, item);
    atomic_store_explicit(&worker->finished_ns, clock_now_ns(), memory_order_relaxed);
    atomic_fetch_add_explicit(&pool->finished, 1, memory_order_release);
    return true;
}

static void sleep_until_work(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add(&pool->sleepers, 1);
    while (atomic_load(&pool->left) == 0 && !atomic_load(&pool->ending))
        pthread_cond_wait(&pool->wake, &pool->lock);
    atomic_fetch_sub(&pool->sleepers, 1);
    pthread_mutex_unlock(&pool->lock);
}

/* Returns when there may be work, or the pool ends. */
static void await_work(struct thread_pool *pool)
{
    const int64_t begun_ns = clock_now_ns();
    int64_t idle_ns = 0;
    for (unsigned round = 1; idle_ns < YIELD_NS; round++) {
        if (atomic_load_explicit(&pool->left, memory_order_relaxed) > 0 ||
            atomic_load_explicit(&pool->ending, memory_order_relaxed))
            return;
        if (pool->cores_short || idle_ns > SPIN_NS) {
            sched_yield();
            idle_ns = clock_now_ns() - begun_ns;
        } else {
            cpu_pause();
            if (round % CLOCK_ROUNDS == 0)
                idle_ns = clock_now_ns() - begun_ns;
        }
    }
    sleep_until_work(pool);
}

/* Pinning is for speed: where the system refuses it, the thread floats. */
static void pin(int processing_unit)
{
    if (processing_unit < 0 || processing_unit >= CPU_SETSIZE)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processing_unit, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    struct thread_pool *pool = worker->pool;
    char name[16];
    snprintf(name, sizeof name, "compute-%d", worker->number);
    pthread_setname_np(pthread_self(), name);
    pin(worker->processing_unit);
    while (!atomic_load(&pool->ending)) {
        while (work_one(pool, worker))
            continue;
        await_work(pool);
    }
    return NULL;
}

static void end_workers(struct thread_pool *pool, int started)
{
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->ending, true);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int number = 1; number < started; number++)
        pthread_join(pool->workers[number].thread, NULL);
}

static void free_pool(struct thread_pool *pool)
{
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->workers);
    free(pool);
}

static bool cores_are_short(int threads)
{
    cpu_set_t allowed;
    return sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) < threads;
}

static struct thread_pool *allocate_pool(int threads, const int *processing_units)
{
    struct thread_pool *pool = aligned_alloc(64, sizeof *pool);
    struct worker *workers = aligned_alloc(64, (size_t)threads * sizeof *workers);
    if (!pool || !workers) {
        free(pool);
        free(workers);
        return NULL;
    }
    memset(pool, 0, sizeof *pool);
    memset(workers, 0, (size_t)threads * sizeof *workers);
    pool->workers = workers;
    pool->threads = threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    for (int number = 0; number < threads; number++) {
        workers[number].pool = pool;
        workers[number].number = number;
        workers[number].processing_unit = processing_units ? processing_units[number] : -1;
    }
    return pool;
}

enum status thread_pool_create(struct thread_pool **pool, int threads, const int *processing_units,
                               bool cores_short)
{
    assert(threads > 0);
    struct thread_pool *made = allocate_pool(threads, processing_units);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d compute threads", threads);
    made->cores_short = cores_short || cores_are_short(threads);
    for (int number = 1; number < threads; number++) {
        struct worker *worker = &made->workers[number];
        const int code = pthread_create(&worker->thread, NULL, worker_main, worker);
        if (code != 0) {
            end_workers(made, number);
            free_pool(made);
            return fail(STATUS_RESOURCE_EXHAUSTED, "start compute thread %d of %d: %s", number,
                        threads, strerror(code));
        }
    }
    pin(made->workers[0].processing_unit);
    *pool = made;
    return STATUS_OK;
}

void thread_pool_destroy(struct thread_pool *pool)
{
    if (!pool)
        return;
    assert(!atomic_load(&pool->running));
    end_workers(pool, pool->threads);
    free_pool(pool);
}

int thread_pool_threads(const struct thread_pool *pool)
{
    return pool->threads;
}

static void start_job(struct thread_pool *pool, size_t items)
{
    atomic_store_explicit(&pool->finished, 0, memory_order_relaxed);
    atomic_store_explicit(&pool->skipped, false, memory_order_relaxed);
    atomic_store_explicit(&pool->workers[0].finished_ns, clock_now_ns(), memory_order_relaxed);
    atomic_store_explicit(&pool->running, true, memory_order_relaxed);
    atomic_store(&pool->left, items);
    if (items > 1 && atomic_load(&pool->sleepers) > 0) {
        pthread_mutex_lock(&pool->lock);
        pthread_cond_broadcast(&pool->wake);
        pthread_mutex_unlock(&pool->lock);
    }
}

bool thread_pool_run(struct thread_pool *pool, size_t items, thread_pool_work *work,
                     thread_pool_between *between, void *context)
{
    pool->work = work;
    pool->context = context;
    pool->items = items;
    start_job(pool, items);
    while (work_one(pool, &pool->workers[0]))
        if (between)
            between(context);
    unsigned rounds = 0;
    while (atomic_load_explicit(&pool->finished, memory_order_acquire) < items) {
        if (between)
            between(context);
        if (pool->cores_short || ++rounds > 1 << 14)
            sched_yield();
        else
            cpu_pause();
    }
    atomic_store_explicit(&pool->running, false, memory_order_relaxed);
    return !atomic_load(&pool->skipped);
}

void thread_pool_skip(struct thread_pool *pool)
{
    const size_t left = atomic_exchange(&pool->left, 0);
    if (left == 0)
        return;
    atomic_store(&pool->skipped, true);
    atomic_fetch_add(&pool->finished, left);
}

int64_t thread_pool_last_active_ns(const struct thread_pool *pool)
{
    if (!atomic_load_explicit(&pool->running, memory_order_relaxed))
        return clock_now_ns();
    int64_t last = 0;
    for (int number = 0; number < pool->threads; number++) {
        const int64_t at =
            atomic_load_explicit(&pool->workers[number].finished_ns, memory_order_relaxed);
        last = at > last ? at : last;
    }
    return last;
}
