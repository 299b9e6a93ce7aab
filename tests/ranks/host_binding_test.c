/* How the ranks of a group come to their cores: among themselves, and beside another group. */
#include "tests/support/ranks.h"
#include "tests/support/unit.h"

#include "worker/host_binding.h"

#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum { RANKS_MOST = 4 };

static char place[] = "/tmp/longhaul-host-binding-XXXXXX";

struct subject {
    int threads;
    struct host_binding agreed;
};

static enum status agree(struct transport *t, void *context)
{
    struct subject *subject = context;
    return host_binding_agree(&subject->agreed, t, subject->threads, place);
}

static void run(struct subject subjects[RANKS_MOST], int ranks, int threads)
{
    void *contexts[RANKS_MOST];
    for (int r = 0; r < ranks; r++) {
        subjects[r] = (struct subject){.threads = threads};
        contexts[r] = &subjects[r];
    }
    assert_int_equal(ranks_run(ranks, NULL, agree, contexts), STATUS_OK);
}

static void release(struct subject subjects[RANKS_MOST], int ranks)
{
    for (int r = 0; r < ranks; r++)
        host_binding_release(&subjects[r].agreed);
}

/* The CPUs that a group's ranks are pinned to; that none comes twice. */
static cpu_set_t pinned_cpus(const struct subject subjects[RANKS_MOST], int ranks)
{
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    for (int r = 0; r < ranks; r++) {
        const struct binding *binding = &subjects[r].agreed.binding;
        assert_true(binding->pinned);
        for (int t = 0; t < binding->threads; t++) {
            assert_true(binding->processing_units[t] >= 0);
            assert_false(CPU_ISSET(binding->processing_units[t], &cpus));
            CPU_SET(binding->processing_units[t], &cpus);
        }
    }
    return cpus;
}

static int cores_here(void)
{
    struct binding whole;
    assert_int_equal(binding_choose(&whole, 0, 1, 0), STATUS_OK);
    return whole.host_cores;
}

static void ranks_of_a_group_have_cores_of_their_own(void **state)
{
    (void)state;
    const int cores = cores_here();
    for (int ranks = 1; ranks <= RANKS_MOST && ranks <= cores; ranks++) {
        struct subject subjects[RANKS_MOST];
        run(subjects, ranks, 0);
        const cpu_set_t cpus = pinned_cpus(subjects, ranks);
        release(subjects, ranks);
        assert_int_equal(CPU_COUNT(&cpus), cores);
    }
}

static void a_second_group_takes_other_cores(void **state)
{
    (void)state;
    if (cores_here() < 2)
        skip();
    struct subject first[RANKS_MOST], second[RANKS_MOST];
    run(first, 1, 1);
    run(second, 1, 1);
    const cpu_set_t of_first = pinned_cpus(first, 1), of_second = pinned_cpus(second, 1);
    const int seen = second[0].agreed.binding.foreign_cores;
    release(first, 1);
    release(second, 1);
    cpu_set_t both;
    CPU_AND(&both, &of_first, &of_second);
    assert_int_equal(CPU_COUNT(&both), 0);
    assert_int_equal(seen, 1);
}

static void a_group_that_finds_all_cores_held_shares_them(void **state)
{
    (void)state;
    struct subject first[RANKS_MOST], second[RANKS_MOST];
    const int cores = cores_here();
    run(first, 1, 0);
    run(second, 2, 0);
    release(first, 1);
    for (int r = 0; r < 2; r++) {
        const struct binding *binding = &second[r].agreed.binding;
        assert_false(binding->pinned);
        assert_int_equal(binding->foreign_cores, cores);
        assert_int_equal(binding->processing_units[0], -1);
    }
    run(first, 1, 0);
    assert_true(first[0].agreed.binding.pinned); /* who shares held none of them */
    release(first, 1);
    release(second, 2);
}

static void more_ranks_than_cores_share_them(void **state)
{
    (void)state;
    const int cores = cores_here();
    if (cores >= RANKS_MOST)
        skip();
    struct subject subjects[RANKS_MOST], late[RANKS_MOST];
    run(subjects, RANKS_MOST, 0);
    run(late, 1, 1);
    for (int r = 0; r < RANKS_MOST; r++) {
        assert_false(subjects[r].agreed.binding.pinned);
        assert_int_equal(subjects[r].agreed.binding.threads, 1);
    }
    const struct binding *binding = &late[0].agreed.binding;
    assert_false(binding->pinned);
    assert_int_equal(binding->foreign_cores, cores);
    release(subjects, RANKS_MOST);
    release(late, 1);
}

static void too_many_threads_are_refused_on_all_ranks(void **state)
{
    (void)state;
    struct subject subjects[RANKS_MOST];
    void *contexts[RANKS_MOST];
    for (int r = 0; r < 2; r++) {
        subjects[r] = (struct subject){.threads = BINDING_THREADS + 1};
        contexts[r] = &subjects[r];
    }
    assert_int_equal(ranks_run(2, NULL, agree, contexts), STATUS_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_of_a_group_have_cores_of_their_own),
        cmocka_unit_test(a_second_group_takes_other_cores),
        cmocka_unit_test(a_group_that_finds_all_cores_held_shares_them),
        cmocka_unit_test(more_ranks_than_cores_share_them),
        cmocka_unit_test(too_many_threads_are_refused_on_all_ranks),
    };
    const int file = mkstemp(place);
    if (file < 0)
        return 1;
    close(file);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(place);
    return failed;
}
