/* The sharing of a host's cores among its ranks. */
#include "tests/support/unit.h"

#include "worker/engine/device/binding.h"

#include <sched.h>

static void ranks_of_a_host_share_its_cores_without_overlap(void **state)
{
    (void)state;
    struct binding whole;
    assert_int_equal(binding_choose(&whole, 0, 1, 0), STATUS_OK);
    assert_int_equal(whole.threads, whole.host_cores);
    assert_true(whole.pinned);
    for (int size = 1; size <= 4; size++) {
        cpu_set_t seen;
        CPU_ZERO(&seen);
        int cores = 0;
        for (int rank = 0; rank < size; rank++) {
            struct binding part;
            assert_int_equal(binding_choose(&part, rank, size, 0), STATUS_OK);
            assert_true(part.threads >= 1);
            cores += part.cores;
            for (int i = 0; i < part.threads && part.pinned; i++) {
                assert_false(CPU_ISSET(part.processing_units[i], &seen));
                CPU_SET(part.processing_units[i], &seen);
            }
        }
        assert_int_equal(cores, whole.host_cores);
    }
}

static void threads_float_where_cores_are_short(void **state)
{
    (void)state;
    struct binding binding;
    assert_int_equal(binding_choose(&binding, 0, 1, BINDING_THREADS), STATUS_OK);
    if (binding.cores >= BINDING_THREADS)
        skip();
    assert_false(binding.pinned);
    assert_int_equal(binding.processing_units[0], -1);
    char line[80];
    binding_facts(&binding, line, sizeof line);
    assert_non_null(strstr(line, "pinned=no"));
}

static void a_process_keeps_to_the_cpus_it_was_given(void **state)
{
    (void)state;
    cpu_set_t before;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    int last = -1;
    for (int unit = 0; unit < CPU_SETSIZE; unit++)
        last = CPU_ISSET(unit, &before) ? unit : last;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    struct binding binding;
    const enum status status = binding_choose(&binding, 0, 1, 0);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(binding.threads, 1);
    assert_int_equal(binding.processing_units[0], last);
}

static void too_many_threads_are_refused(void **state)
{
    (void)state;
    struct binding binding;
    assert_int_equal(binding_choose(&binding, 0, 1, BINDING_THREADS + 1), STATUS_INVALID_ARGUMENT);
    assert_int_equal(binding_choose(&binding, 0, 1, -1), STATUS_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_of_a_host_share_its_cores_without_overlap),
        cmocka_unit_test(threads_float_where_cores_are_short),
        cmocka_unit_test(a_process_keeps_to_the_cpus_it_was_given),
        cmocka_unit_test(too_many_threads_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
