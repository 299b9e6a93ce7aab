/* The compute threads of a rank: every item once, in order, with progress in between. */
#include "tests/support/unit.h"

#include "proto/clock.h"
#include "worker/engine/device/thread_pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { MOST_ITEMS = 5000 };

struct counting {
    struct thread_pool *pool;
    pthread_t caller;
    _Atomic int runs[MOST_ITEMS];
    _Atomic size_t order;
    _Atomic int out_of_order;
    _Atomic int strangers; /* calls by a wrong thread */
    int betweens;
    size_t skip_at;
    long plain[MOST_ITEMS]; /* written by items, read by the caller: the sanitizer watches */
};

static void sleep_ns(long ns)
{
    const struct timespec span = {0, ns};
    nanosleep(&span, NULL);
}

static void count_item(void *context, int thread, size_t item)
{
    struct counting *counting = context;
    atomic_fetch_add(&counting->runs[item], 1);
    counting->plain[item] += (long)item + 1;
    if (thread < 0 || thread >= thread_pool_threads(counting->pool) ||
        (thread == 0) != (pthread_equal(pthread_self(), counting->caller) != 0))
        atomic_fetch_add(&counting->strangers, 1);
}

static void count_between(void *context)
{
    struct counting *counting = context;
    if (!pthread_equal(pthread_self(), counting->caller))
        atomic_fetch_add(&counting->strangers, 1);
    counting->betweens++;
}

static struct counting *counting_create(int threads)
{
    struct counting *counting = test_calloc(1, sizeof *counting);
    counting->caller = pthread_self();
    assert_int_equal(thread_pool_create(&counting->pool, threads, NULL, false), STATUS_OK);
    return counting;
}

static void counting_destroy(struct counting *counting)
{
    thread_pool_destroy(counting->pool);
    test_free(counting);
}

static void every_item_runs_once(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        struct counting *counting = counting_create(threads);
        assert_true(thread_pool_run(counting->pool, MOST_ITEMS, count_item, NULL, counting));
        for (size_t i = 0; i < MOST_ITEMS; i++) {
            assert_int_equal(counting->runs[i], 1);
            assert_int_equal(counting->plain[i], (long)i + 1);
        }
        assert_int_equal(counting->strangers, 0);
        counting_destroy(counting);
    }
}

static void many_tiny_jobs_run_whole(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        struct counting *counting = counting_create(threads);
        long items = 0;
        for (size_t job = 0; job < 20000; job++) {
            const size_t count = job % 7;
            assert_true(thread_pool_run(counting->pool, count, count_item, NULL, counting));
            items += (long)count;
        }
        long runs = 0;
        for (size_t i = 0; i < 7; i++)
            runs += counting->runs[i];
        assert_int_equal(runs, items);
        counting_destroy(counting);
    }
}

static void sleeping_threads_are_woken(void **state)
{
    (void)state;
    struct counting *counting = counting_create(3);
    for (int job = 0; job < 20; job++) {
        sleep_ns(5000000);
        assert_true(thread_pool_run(counting->pool, 50, count_item, NULL, counting));
    }
    for (size_t i = 0; i < 50; i++)
        assert_int_equal(counting->runs[i], 20);
    counting_destroy(counting);
}

static void note_order(void *context, int thread, size_t item)
{
    (void)thread;
    struct counting *counting = context;
    if (atomic_fetch_add(&counting->order, 1) != item)
        atomic_fetch_add(&counting->out_of_order, 1);
}

static void one_thread_takes_items_in_ascending_order(void **state)
{
    (void)state;
    struct counting *counting = counting_create(1);
    assert_true(thread_pool_run(counting->pool, 100, note_order, NULL, counting));
    assert_int_equal(counting->order, 100);
    assert_int_equal(counting->out_of_order, 0);
    counting_destroy(counting);
}

static void only_the_last_item_is_long(void *context, int thread, size_t item)
{
    count_item(context, thread, item);
    if (thread != 0)
        sleep_ns(30000000);
    else
        sleep_ns(1000000);
}

static void the_caller_drives_progress_between_items_and_while_it_waits(void **state)
{
    (void)state;
    struct counting *counting = counting_create(2);
    sleep_ns(1000000);
    assert_true(
        thread_pool_run(counting->pool, 2, only_the_last_item_is_long, count_between, counting));
    assert_true(counting->betweens > 1);
    counting->betweens = 0;
    thread_pool_destroy(counting->pool);
    assert_int_equal(thread_pool_create(&counting->pool, 1, NULL, false), STATUS_OK);
    assert_true(thread_pool_run(counting->pool, 9, count_item, count_between, counting));
    assert_int_equal(counting->betweens, 9);
    assert_int_equal(counting->strangers, 0);
    counting_destroy(counting);
}

static void skip_at_item(void *context, int thread, size_t item)
{
    struct counting *counting = context;
    count_item(context, thread, item);
    if (item == counting->skip_at)
        thread_pool_skip(counting->pool);
}

static void a_skip_ends_the_handing_out_and_the_next_job_is_whole(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct counting *counting = counting_create(threads);
        counting->skip_at = 10;
        assert_false(thread_pool_run(counting->pool, MOST_ITEMS, skip_at_item, NULL, counting));
        assert_int_equal(counting->runs[10], 1);
        if (threads == 1)
            assert_int_equal(counting->runs[11], 0);
        for (size_t i = 0; i < MOST_ITEMS; i++)
            assert_true(counting->runs[i] <= 1);
        memset(counting->runs, 0, sizeof counting->runs);
        assert_true(thread_pool_run(counting->pool, 300, count_item, NULL, counting));
        for (size_t i = 0; i < 300; i++)
            assert_int_equal(counting->runs[i], 1);
        thread_pool_skip(counting->pool);
        assert_true(thread_pool_run(counting->pool, 3, count_item, NULL, counting));
        counting_destroy(counting);
    }
}

struct watching {
    struct thread_pool *pool;
    int64_t overdue_ns; /* the most that the last sign of life was ever behind */
    _Atomic bool ended;
};

static void *watch(void *context)
{
    struct watching *watching = context;
    while (!atomic_load(&watching->ended)) {
        const int64_t last = thread_pool_last_active_ns(watching->pool);
        const int64_t now = clock_now_ns();
        if (now > last && now - last > watching->overdue_ns)
            watching->overdue_ns = now - last;
        sleep_ns(1000000);
    }
    return NULL;
}

static void sleep_in_item(void *context, int thread, size_t item)
{
    (void)context;
    (void)thread;
    (void)item;
    sleep_ns(200000000);
}

static void another_thread_sees_when_an_item_is_overdue(void **state)
{
    (void)state;
    struct watching watching = {0};
    assert_int_equal(thread_pool_create(&watching.pool, 2, NULL, false), STATUS_OK);
    pthread_t watcher;
    assert_int_equal(pthread_create(&watcher, NULL, watch, &watching), 0);
    sleep_ns(100000000);
    assert_true(thread_pool_run(watching.pool, 1, sleep_in_item, NULL, &watching));
    atomic_store(&watching.ended, true);
    pthread_join(watcher, NULL);
    assert_true(watching.overdue_ns > 100000000);
    const int64_t now = clock_now_ns();
    assert_true(thread_pool_last_active_ns(watching.pool) >= now);
    thread_pool_destroy(watching.pool);
}

static void pinning_to_a_cpu_that_is_not_there_is_survived(void **state)
{
    (void)state;
    const int units[] = {-1, 1000};
    struct counting *counting = test_calloc(1, sizeof *counting);
    counting->caller = pthread_self();
    assert_int_equal(thread_pool_create(&counting->pool, 2, units, false), STATUS_OK);
    assert_true(thread_pool_run(counting->pool, 10, count_item, NULL, counting));
    counting_destroy(counting);
    thread_pool_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_item_runs_once),
        cmocka_unit_test(many_tiny_jobs_run_whole),
        cmocka_unit_test(sleeping_threads_are_woken),
        cmocka_unit_test(one_thread_takes_items_in_ascending_order),
        cmocka_unit_test(the_caller_drives_progress_between_items_and_while_it_waits),
        cmocka_unit_test(a_skip_ends_the_handing_out_and_the_next_job_is_whole),
        cmocka_unit_test(another_thread_sees_when_an_item_is_overdue),
        cmocka_unit_test(pinning_to_a_cpu_that_is_not_there_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
