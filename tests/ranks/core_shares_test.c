/* The sharing of a machine's cores: every small case, and the machines that people have. */
#include "tests/support/unit.h"

#include "worker/engine/device/core_shares.h"

enum { CORES = 4, RANKS = 3, SETS = 1 << CORES, THREADS_MOST = 2 };

static cpu_set_t set_of(unsigned bits)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int core = 0; core < 32; core++)
        if (bits >> core & 1)
            CPU_SET(core, &set);
    return set;
}

static unsigned bits_of(const cpu_set_t *set)
{
    unsigned bits = 0;
    for (int core = 0; core < 32; core++)
        bits |= (unsigned)CPU_ISSET(core, set) << core;
    return bits;
}

static struct core_order order_of(int cores)
{
    struct core_order order = {.count = cores};
    for (int c = 0; c < cores; c++)
        order.cores[c] = (struct core_order_core){.core = c, .cpu = c};
    return order;
}

static int count(unsigned bits)
{
    return __builtin_popcount(bits);
}

static void check_rank(const struct core_share *share, const struct core_request *request,
                       unsigned foreign)
{
    const unsigned cores = bits_of(&share->cores), may = bits_of(&request->cores);
    assert_true(share->threads >= 1);
    assert_true(request->threads == 0 || share->threads == request->threads);
    assert_int_equal(share->allowed_cores, count(may));
    assert_int_equal(share->foreign_cores, count(may & foreign));
    assert_int_equal(bits_of(&share->held) & (foreign | ~may), 0);
    if (share->own) {
        assert_int_equal(count(cores), share->threads);
        assert_int_equal(cores & (foreign | ~may), 0);
        assert_int_equal(bits_of(&share->held), cores);
    } else {
        assert_int_equal(cores, may);
    }
}

/* Ranks that may all use the same cores share only where there are not enough. */
static void check_alike(const struct core_share *shares, unsigned may, unsigned foreign,
                        int threads)
{
    const int free = count(may & ~foreign);
    const bool enough = free >= RANKS * (threads ? threads : 1);
    int used = 0;
    for (int r = 0; r < RANKS; r++) {
        assert_int_equal(shares[r].own, enough);
        used += shares[r].threads;
    }
    if (enough && threads == 0)
        assert_int_equal(used, free);
}

static void check_case(const unsigned may[RANKS], unsigned foreign, int threads)
{
    static struct core_order order;
    if (order.count == 0)
        order = order_of(CORES);
    struct core_request requests[RANKS];
    struct core_share shares[RANKS];
    const cpu_set_t held = set_of(foreign);
    for (int r = 0; r < RANKS; r++)
        requests[r] = (struct core_request){set_of(may[r]), threads};
    core_shares_make(shares, requests, RANKS, &order, &held);
    unsigned owned = 0, kept = 0;
    for (int r = 0; r < RANKS; r++) {
        check_rank(&shares[r], &requests[r], foreign);
        assert_int_equal(kept & bits_of(&shares[r].held), 0);
        kept |= bits_of(&shares[r].held);
        if (shares[r].own) {
            assert_int_equal(owned & bits_of(&shares[r].cores), 0);
            owned |= bits_of(&shares[r].cores);
        }
    }
    if (may[0] == may[1] && may[1] == may[2])
        check_alike(shares, may[0], foreign, threads);
}

static void no_core_is_two_ranks_own_nor_one_of_another_group(void **state)
{
    (void)state;
    unsigned may[RANKS];
    for (may[0] = 1; may[0] < SETS; may[0]++)
        for (may[1] = 1; may[1] < SETS; may[1]++)
            for (may[2] = 1; may[2] < SETS; may[2]++)
                for (unsigned foreign = 0; foreign < SETS; foreign++)
                    for (int threads = 0; threads <= THREADS_MOST; threads++)
                        check_case(may, foreign, threads);
}

/* As srun and mpirun bind them: each rank has its own part of the node. */
static void ranks_that_are_bound_apart_keep_all_that_they_were_given(void **state)
{
    (void)state;
    const struct core_order order = order_of(8);
    struct core_request requests[4];
    struct core_share shares[4];
    const cpu_set_t none = set_of(0);
    for (int r = 0; r < 4; r++)
        requests[r] = (struct core_request){set_of(3u << 2 * r), 0};
    core_shares_make(shares, requests, 4, &order, &none);
    for (int r = 0; r < 4; r++) {
        assert_true(shares[r].own);
        assert_int_equal(shares[r].threads, 2);
        assert_int_equal(bits_of(&shares[r].cores), 3u << 2 * r);
    }
}

static void a_rank_with_a_narrow_choice_is_served_first(void **state)
{
    (void)state;
    const struct core_order order = order_of(2);
    const struct core_request requests[2] = {{set_of(3), 1}, {set_of(1), 1}};
    struct core_share shares[2];
    const cpu_set_t none = set_of(0);
    core_shares_make(shares, requests, 2, &order, &none);
    assert_true(shares[0].own && shares[1].own);
    assert_int_equal(bits_of(&shares[0].cores), 2);
    assert_int_equal(bits_of(&shares[1].cores), 1);
}

/* Neighbours in the machine's order stay together, whatever their numbers are. */
static void a_share_follows_the_order_of_the_machine(void **state)
{
    (void)state;
    struct core_order order = order_of(4);
    const int cores[] = {0, 2, 1, 3};
    for (int c = 0; c < 4; c++)
        order.cores[c].core = cores[c];
    const struct core_request requests[2] = {{set_of(15), 0}, {set_of(15), 0}};
    struct core_share shares[2];
    const cpu_set_t none = set_of(0);
    core_shares_make(shares, requests, 2, &order, &none);
    assert_int_equal(bits_of(&shares[0].cores), 1 << 0 | 1 << 2);
    assert_int_equal(bits_of(&shares[1].cores), 1 << 1 | 1 << 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_core_is_two_ranks_own_nor_one_of_another_group),
        cmocka_unit_test(ranks_that_are_bound_apart_keep_all_that_they_were_given),
        cmocka_unit_test(a_rank_with_a_narrow_choice_is_served_first),
        cmocka_unit_test(a_share_follows_the_order_of_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
