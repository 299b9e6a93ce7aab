/* What the ranks measure of the link between them: one rate for all, of the slowest. */
#include "tests/support/ranks.h"
#include "tests/support/unit.h"

#include "worker/engine/transport/transport_loopback.h"
#include "worker/link_rate.h"

enum { RANKS_MOST = 4, DELAY_MS = 20, MEGABYTE = 1 << 20 };

struct subject {
    double rate;
    bool delayed;
};

static enum status measure(struct transport *t, void *context)
{
    struct subject *subject = context;
    if (subject->delayed)
        transport_loopback_delay(t, DELAY_MS * INT64_C(1000000));
    TRY(link_rate_measure(&subject->rate, t));
    expect_on_all_ranks(t, t->counters.sent_bytes[TRANSPORT_KEYS] ==
                               t->counters.received_bytes[TRANSPORT_KEYS]);
    return STATUS_OK;
}

static void run(struct subject subjects[RANKS_MOST], int ranks)
{
    void *contexts[RANKS_MOST];
    for (int r = 0; r < ranks; r++)
        contexts[r] = &subjects[r];
    assert_int_equal(ranks_run(ranks, NULL, measure, contexts), STATUS_OK);
}

static void all_ranks_have_the_same_rate(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= RANKS_MOST; ranks++) {
        struct subject subjects[RANKS_MOST] = {{.rate = 0}};
        run(subjects, ranks);
        assert_true(subjects[0].rate > 0);
        for (int r = 1; r < ranks; r++)
            assert_true(subjects[r].rate == subjects[0].rate);
    }
}

static void a_rank_alone_has_no_link(void **state)
{
    (void)state;
    struct subject subjects[RANKS_MOST] = {{.rate = 1}};
    run(subjects, 1);
    assert_true(subjects[0].rate == 0);
}

/* One rank's messages take 20 ms: at most 50 MiB a second for all. */
static void a_slow_link_is_seen(void **state)
{
    (void)state;
    struct subject subjects[RANKS_MOST] = {[1] = {.delayed = true}};
    run(subjects, 3);
    for (int r = 0; r < 3; r++)
        assert_true(subjects[r].rate <= MEGABYTE * (1000.0 / DELAY_MS));
}

static enum status lose_a_rank(struct transport *t, void *context)
{
    double rate;
    (void)context;
    if (t->rank == 1) {
        transport_abort(t, "a test");
        return STATUS_OK;
    }
    expect_on_rank(t, link_rate_measure(&rate, t) == STATUS_UNAVAILABLE);
    return STATUS_OK;
}

static void a_lost_rank_ends_the_measuring(void **state)
{
    (void)state;
    assert_int_equal(ranks_run(3, NULL, lose_a_rank, NULL), STATUS_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ranks_have_the_same_rate),
        cmocka_unit_test(a_rank_alone_has_no_link),
        cmocka_unit_test(a_slow_link_is_seen),
        cmocka_unit_test(a_lost_rank_ends_the_measuring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
