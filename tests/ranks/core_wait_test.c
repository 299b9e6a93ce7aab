/* Cores that are shared without anybody's knowing: the kernel's account tells, waits follow it. */
#include "tests/support/ranks.h"
#include "tests/support/unit.h"

#include "proto/clock.h"
#include "worker/engine/transport/core_wait.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

enum { MESSAGES = 1000, PATIENCE_S = 20, WAIT_NS = 300000000 };

static cpu_set_t before;

static void move_to(const cpu_set_t *set)
{
    assert_int_equal(sched_setaffinity(0, sizeof *set, set), 0);
}

/* Threads that start from here on share one core. */
static void crowd_together(void)
{
    int cpu = 0;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    while (!CPU_ISSET(cpu, &before))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    move_to(&one);
}

static void *burn(void *ending)
{
    while (!atomic_load((_Atomic bool *)ending))
        continue;
    return NULL;
}

static void a_thread_finds_out_that_it_shares_its_core(void **state)
{
    (void)state;
    pthread_t other;
    _Atomic bool ending = false;
    struct core_wait wait = {0};
    crowd_together();
    assert_int_equal(pthread_create(&other, NULL, burn, &ending), 0);
    const double begun = clock_now_seconds();
    while (!wait.crowded && clock_now_seconds() - begun < PATIENCE_S)
        core_wait_look(&wait, clock_now_ns());
    const bool crowded = wait.crowded;
    atomic_store(&ending, true);
    pthread_join(other, NULL);
    core_wait_close(&wait);
    move_to(&before);
    assert_true(crowded);
}

static enum status play_ping_pong(struct transport *t, void *context)
{
    (void)context;
    transport_set_cores_short(t, false);
    for (int m = 0; m < 2 * MESSAGES; m++) {
        struct transport_request *request;
        char byte = 0;
        if ((m + t->rank) % 2)
            TRY(transport_receive(t, 1 - t->rank, TRANSPORT_STATE, &byte, 1, &request));
        else
            TRY(transport_send(t, 1 - t->rank, TRANSPORT_STATE, &byte, 1, &request));
        TRY(transport_wait(t, request));
    }
    return STATUS_OK;
}

/* A wait that spins until it yields by itself takes a third of a millisecond and more of the core
 * from whom it waits for. */
static void ranks_that_share_a_core_do_not_spin_against_each_other(void **state)
{
    (void)state;
    crowd_together();
    const clock_t begun = clock();
    const enum status status = ranks_run(2, NULL, play_ping_pong, NULL);
    const double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    move_to(&before);
    assert_int_equal(status, STATUS_OK);
    print_message("%d messages took %.3f s of the core\n", 2 * MESSAGES, seconds);
    assert_true(seconds < 2 * MESSAGES * 75e-6);
}

static int64_t thread_cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Rank 1 sends nothing for WAIT_NS. */
static enum status wait_long(struct transport *t, void *context)
{
    int64_t *taken_ns = context;
    struct transport_request *request;
    char byte = 0;
    transport_set_cores_short(t, true);
    if (t->rank == 1)
        nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
    const int64_t begun_ns = thread_cpu_ns();
    if (t->rank == 1)
        TRY(transport_send(t, 0, TRANSPORT_STATE, &byte, 1, &request));
    else
        TRY(transport_receive(t, 1, TRANSPORT_STATE, &byte, 1, &request));
    TRY(transport_wait(t, request));
    *taken_ns = thread_cpu_ns() - begun_ns;
    return STATUS_OK;
}

/* Yields alone would take all of it, wherever nobody else wants the core. */
static void a_long_wait_on_a_shared_core_takes_little_of_it(void **state)
{
    (void)state;
    int64_t taken_ns[2];
    void *contexts[2] = {&taken_ns[0], &taken_ns[1]};
    assert_int_equal(ranks_run(2, NULL, wait_long, contexts), STATUS_OK);
    print_message("a wait of %d ms took %.1f ms of the core\n", WAIT_NS / 1000000,
                  (double)taken_ns[0] * 1e-6);
    assert_true(taken_ns[0] < WAIT_NS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_finds_out_that_it_shares_its_core),
        cmocka_unit_test(a_long_wait_on_a_shared_core_takes_little_of_it),
        cmocka_unit_test(ranks_that_share_a_core_do_not_spin_against_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
