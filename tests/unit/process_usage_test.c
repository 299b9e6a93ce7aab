/* What a request took of its process and host: what this process is seen to do is counted. */
#include "tests/support/unit.h"

#include <time.h>
#include <unistd.h>

#include "worker/engine/process_usage.h"

static double thread_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void what_a_thread_computes_is_counted(void **state)
{
    (void)state;
    const double worked = 0.5;
    struct transport transport = {.counters.waited_ns = 1000000000};
    const struct process_usage before = process_usage_now(&transport);
    for (const double end = thread_seconds() + worked; thread_seconds() < end;)
        ;
    transport.counters.waited_ns += 250000000;
    const struct process_usage used = process_usage_since(&before, &transport);
    assert_true(used.cpu_seconds >= worked);
    assert_true(used.cpu_seconds < 2 * worked);
    /* Eight numbers of whole ticks, each rounded down. */
    assert_true(used.host_cpu_seconds >= worked - 8.0 / (double)sysconf(_SC_CLK_TCK));
    assert_true(used.wait_seconds == 0.25);
}

static void sleeps_are_voluntary_switches(void **state)
{
    (void)state;
    enum { SLEEPS = 20 };
    const struct transport transport = {0};
    const struct process_usage before = process_usage_now(&transport);
    for (int i = 0; i < SLEEPS; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    const struct process_usage used = process_usage_since(&before, &transport);
    assert_in_range(used.voluntary_switches, SLEEPS, SLEEPS + 5);
    assert_true(used.involuntary_switches >= 0);
    assert_true(used.wait_seconds == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_thread_computes_is_counted),
        cmocka_unit_test(sleeps_are_voluntary_switches),
    };
    return cmocka_run_group_tests_name("process_usage", tests, NULL, NULL);
}
