/* What the ranks measure of the link between them: the same for all. */
#include "tests/support/ranks.h"
#include "tests/support/unit.h"

#include "worker/engine/transport/transport_loopback.h"
#include "worker/link_rate.h"

enum { RANKS_MOST = 4, DELAY_MS = 20 };

struct subject {
    struct link_rates rates;
    bool delayed;
};

static enum status measure(struct transport *t, void *context)
{
    struct subject *subject = context;
    if (subject->delayed)
        transport_loopback_delay(t, DELAY_MS * INT64_C(1000000));
    TRY(link_rate_measure(&subject->rates, t));
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
        struct subject subjects[RANKS_MOST] = {{.delayed = false}};
        run(subjects, ranks);
        const struct link_rates *rates = &subjects[0].rates;
        assert_true(rates->within.bytes_per_second > 0 && rates->within.latency_s > 0);
        assert_true(rates->within.message_s >= 0 && rates->between.bytes_per_second == 0);
        assert_int_equal(rates->host_ranks, ranks);
        assert_int_equal(rates->count, 1);
        assert_int_equal(rates->pairs[0].from + rates->pairs[0].to, 0);
        for (int r = 1; r < ranks; r++)
            assert_memory_equal(&subjects[r].rates, rates, sizeof *rates);
    }
}

static void a_rank_alone_has_no_link(void **state)
{
    (void)state;
    struct subject subjects[RANKS_MOST] = {{.rates.within.bytes_per_second = 1}};
    run(subjects, 1);
    assert_true(subjects[0].rates.within.bytes_per_second == 0);
    assert_int_equal(subjects[0].rates.count, 0);
}

/* One rank's messages take 20 ms, many at a time no longer than one. What can be measured without a
 * clock that both sides share is the way there and back;
 * a rank that asks late waits a little less. */
static void a_slow_link_is_seen(void **state)
{
    (void)state;
    struct subject subjects[RANKS_MOST] = {[1] = {.delayed = true}};
    run(subjects, 3);
    for (int r = 0; r < 3; r++) {
        assert_true(subjects[r].rates.within.latency_s >= DELAY_MS * 0.25e-3);
        assert_true(subjects[r].rates.within.message_s < DELAY_MS * 1e-3);
    }
}

/* Two ranks each on two hosts; what rank 3 sends takes 20 ms. */
static enum status measure_two_hosts(struct transport *t, void *context)
{
    struct subject *subject = context;
    t->local_size = 2;
    t->local_rank = t->rank % 2;
    if (t->rank == 3)
        transport_loopback_delay(t, DELAY_MS * INT64_C(1000000));
    return link_rate_measure(&subject->rates, t);
}

static const struct link_rate *find_pair(const struct link_rates *rates, int from, int to)
{
    for (int p = 0; p < rates->count; p++)
        if (rates->pairs[p].from == from && rates->pairs[p].to == to)
            return &rates->pairs[p];
    fail_msg("nothing was measured from %d to %d", from, to);
    return NULL;
}

static void each_pair_of_hosts_has_links_of_its_own(void **state)
{
    (void)state;
    struct subject subjects[RANKS_MOST] = {{.delayed = false}};
    void *contexts[RANKS_MOST];
    for (int r = 0; r < RANKS_MOST; r++)
        contexts[r] = &subjects[r];
    assert_int_equal(ranks_run(RANKS_MOST, NULL, measure_two_hosts, contexts), STATUS_OK);
    const struct link_rates *rates = &subjects[0].rates;
    assert_int_equal(rates->host_ranks, 2);
    assert_int_equal(rates->count, 4);
    assert_true(find_pair(rates, 2, 0)->link.latency_s >= DELAY_MS * 0.25e-3);
    assert_true(find_pair(rates, 0, 2)->link.latency_s >= DELAY_MS * 0.25e-3);
    assert_true(find_pair(rates, 0, 0)->link.latency_s < DELAY_MS * 0.25e-3);
    assert_true(rates->between.latency_s >= DELAY_MS * 0.25e-3);
    assert_true(find_pair(rates, 2, 2)->link.latency_s >= DELAY_MS * 0.25e-3);
    assert_true(rates->within.latency_s == find_pair(rates, 2, 2)->link.latency_s);
    for (int r = 1; r < RANKS_MOST; r++)
        assert_memory_equal(&subjects[r].rates, rates, sizeof *rates);
}

static enum status lose_a_rank(struct transport *t, void *context)
{
    struct link_rates rates;
    (void)context;
    if (t->rank == 1) {
        transport_abort(t, "a test");
        return STATUS_OK;
    }
    expect_on_rank(t, link_rate_measure(&rates, t) == STATUS_UNAVAILABLE);
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
        cmocka_unit_test(each_pair_of_hosts_has_links_of_its_own),
        cmocka_unit_test(a_lost_rank_ends_the_measuring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
