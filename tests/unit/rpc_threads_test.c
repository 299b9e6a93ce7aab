/* Threads that are kept for the next job: none waits for another, few are started, all end. */
#include "tests/support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "proto/rpc/rpc_threads.h"

enum { JOBS = 40, TURNS = 500 };

struct counted {
    struct rpc_job job;
    pthread_barrier_t *all; /* NULL: waits for nobody */
    pthread_t thread;
};

static atomic_int done;

static void count(struct rpc_job *job)
{
    struct counted *counted = (struct counted *)job;
    counted->thread = pthread_self();
    if (counted->all)
        pthread_barrier_wait(counted->all);
    atomic_fetch_add(&done, 1);
}

static void wait_until_done(int wanted)
{
    for (int i = 0; i < 5000 && atomic_load(&done) < wanted; i++)
        usleep(1000);
    assert_int_equal(atomic_load(&done), wanted);
}

static void jobs_do_not_wait_for_each_other(void **state)
{
    (void)state;
    struct rpc_threads *threads;
    struct counted jobs[JOBS];
    pthread_barrier_t all;
    atomic_store(&done, 0);
    pthread_barrier_init(&all, NULL, JOBS);
    assert_int_equal(rpc_threads_create(&threads), STATUS_OK);
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted){.job = {.run = count}, .all = &all};
        assert_int_equal(rpc_threads_run(threads, &jobs[i].job), STATUS_OK);
    }
    wait_until_done(JOBS);
    rpc_threads_destroy(threads);
    pthread_barrier_destroy(&all);
}

static void one_job_after_the_other_has_few_threads(void **state)
{
    (void)state;
    struct rpc_threads *threads;
    struct counted job = {.job = {.run = count}};
    pthread_t seen[TURNS];
    int count_seen = 0;
    atomic_store(&done, 0);
    assert_int_equal(rpc_threads_create(&threads), STATUS_OK);
    for (int i = 0; i < TURNS; i++) {
        int at = 0;
        assert_int_equal(rpc_threads_run(threads, &job.job), STATUS_OK);
        wait_until_done(i + 1);
        while (at < count_seen && !pthread_equal(seen[at], job.thread))
            at++;
        if (at == count_seen)
            seen[count_seen++] = job.thread;
        usleep(100); /* for the thread to come to rest */
    }
    assert_in_range(count_seen, 1, TURNS / 10);
    rpc_threads_destroy(threads);
}

static void slow(struct rpc_job *job)
{
    (void)job;
    usleep(50000);
    atomic_fetch_add(&done, 1);
}

/* They share threads, and every one of them runs. */
static void brief_jobs_run_on_few_threads(void **state)
{
    (void)state;
    struct rpc_threads *threads;
    static struct counted jobs[TURNS];
    pthread_t seen[TURNS];
    int count_seen = 0;
    atomic_store(&done, 0);
    assert_int_equal(rpc_threads_create(&threads), STATUS_OK);
    for (int i = 0; i < TURNS; i++) {
        jobs[i] = (struct counted){.job = {.run = count}};
        assert_int_equal(rpc_threads_run_brief(threads, &jobs[i].job), STATUS_OK);
    }
    wait_until_done(TURNS);
    for (int i = 0; i < TURNS; i++) {
        int at = 0;
        while (at < count_seen && !pthread_equal(seen[at], jobs[i].thread))
            at++;
        if (at == count_seen)
            seen[count_seen++] = jobs[i].thread;
    }
    assert_in_range(count_seen, 1, 16); /* four at a time, which may have rested in between */
    rpc_threads_destroy(threads);
}

static void the_end_waits_for_what_runs(void **state)
{
    (void)state;
    struct rpc_threads *threads;
    struct rpc_job jobs[8];
    atomic_store(&done, 0);
    assert_int_equal(rpc_threads_create(&threads), STATUS_OK);
    for (int i = 0; i < 8; i++) {
        jobs[i] = (struct rpc_job){.run = slow};
        assert_int_equal(rpc_threads_run(threads, &jobs[i]), STATUS_OK);
    }
    rpc_threads_destroy(threads);
    assert_int_equal(atomic_load(&done), 8);
    rpc_threads_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_do_not_wait_for_each_other),
        cmocka_unit_test(one_job_after_the_other_has_few_threads),
        cmocka_unit_test(brief_jobs_run_on_few_threads),
        cmocka_unit_test(the_end_waits_for_what_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
