/* What others do to the machine is told from what is measured; and drawn numbers come again. */
#include "tests/support/unit.h"

#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coordinator/bench/busy_watch.h"
#include "coordinator/bench/draws.h"
#include "coordinator/bench/host_facts.h"
#include "proto/clock.h"

static void spin(double seconds)
{
    const int64_t begin_ns = clock_now_ns();
    while (clock_seconds_since(begin_ns) < seconds)
        continue;
}

/* A child spins, and a grandchild beside it: both are ours. */
static void what_runs_below_this_process_is_its_own(void **state)
{
    (void)state;
    struct busy_watch watch = {.intervals = 0};
    const pid_t child = fork();
    if (child == 0) {
        const pid_t grandchild = fork();
        spin(1.2);
        if (grandchild > 0)
            waitpid(grandchild, NULL, 0);
        _exit(0);
    }
    usleep(100000);
    busy_watch_begin(&watch);
    usleep(900000);
    busy_watch_end(&watch);
    waitpid(child, NULL, 0);
    /* Two that spin get less than that where others want the cores, too. */
    assert_true(watch.own > 0.1);
    assert_true(watch.own <= watch.all + 0.1);
}

static struct busy_watch watched(double seconds, double all, double own, double stolen,
                                 int intervals)
{
    return (struct busy_watch){
        .seconds = seconds, .all = all, .own = own, .stolen = stolen, .intervals = intervals};
}

static void a_twentieth_of_the_cores_is_busy(void **state)
{
    (void)state;
    struct host_facts facts;
    struct busy_findings findings;
    host_facts_read(&facts);
    const double capacity = 100.0 * facts.usable_cores;
    struct busy_watch watch = watched(100, 50 + 0.06 * capacity, 50, 0, 1);
    busy_watch_find(&findings, &watch);
    assert_true(findings.known && findings.busy);
    assert_float_equal(findings.other_cores, 0.06 * facts.usable_cores, 1e-9);
    watch = watched(100, 50 + 0.04 * capacity, 50, 0, 1);
    busy_watch_find(&findings, &watch);
    assert_true(findings.known && !findings.busy);
    watch = watched(100, 50 + 0.04 * capacity, 50, 0.02 * capacity, 1);
    busy_watch_find(&findings, &watch);
    assert_true(findings.busy);
    assert_float_equal(findings.stolen_cores, 0.02 * facts.usable_cores, 1e-9);
    /* Counted a tick late, ours may seem more than all. */
    watch = watched(100, 49.9, 50, 0, 1);
    busy_watch_find(&findings, &watch);
    assert_true(findings.known && !findings.busy);
    assert_float_equal(findings.other_cores, 0, 0);
}

static void intervals_shorter_than_the_kernel_counts_say_nothing(void **state)
{
    (void)state;
    struct busy_findings findings;
    struct busy_watch watch = watched(0.001, 0.5, 0, 0, 1);
    busy_watch_find(&findings, &watch);
    assert_false(findings.known || findings.busy);
    watch = watched(0, 0, 0, 0, 0);
    busy_watch_find(&findings, &watch);
    assert_false(findings.known || findings.busy);
}

/* The first numbers of the published generator for the seed 1234567. */
static void drawn_numbers_are_the_published_ones(void **state)
{
    (void)state;
    static const uint64_t published[] = {6457827717110365317u, 3203168211198807973u,
                                         9817491932198370423u, 4593380528125082431u,
                                         16408922859458223821u};
    struct draws draws = {1234567};
    for (int i = 0; i < 5; i++)
        assert_true(draws_bits(&draws) == published[i]);
    draws = (struct draws){1234567};
    assert_float_equal(draws_uniform(&draws), 6457827717110365317.0 / 0x1p64, 1e-15);
    draws = (struct draws){1234567};
    assert_float_equal(draws_wait(&draws, 4), -log(1 - 6457827717110365317.0 / 0x1p64) / 4, 1e-15);
}

/* The mean of n exponential waits lies within 5 standard errors; so does the share of waits that
 * are longer than the mean, which is 1 / e. */
static void waits_are_those_of_independent_events(void **state)
{
    (void)state;
    enum { WAITS = 100000 };
    struct draws draws = {7};
    double sum = 0, longer = 0;
    for (int i = 0; i < WAITS; i++) {
        const double wait = draws_wait(&draws, 10);
        assert_true(wait >= 0 && isfinite(wait));
        sum += wait;
        longer += wait > 0.1;
    }
    assert_float_equal(sum / WAITS, 0.1, 5 * 0.1 / sqrt(WAITS));
    assert_float_equal(longer / WAITS, exp(-1), 5 * sqrt(exp(-1) * (1 - exp(-1)) / WAITS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_runs_below_this_process_is_its_own),
        cmocka_unit_test(a_twentieth_of_the_cores_is_busy),
        cmocka_unit_test(intervals_shorter_than_the_kernel_counts_say_nothing),
        cmocka_unit_test(drawn_numbers_are_the_published_ones),
        cmocka_unit_test(waits_are_those_of_independent_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
