/* Who owns which token: against plain recounting, at small sizes. */
#include "tests/support/unit.h"

#include <math.h>

#include "proto/plan/partition.h"

enum { TOKENS_MAX = 40, WORKERS_MAX = 5 };

static struct ownership *create(int workers, int panel_tokens)
{
    struct ownership *ownership;
    assert_int_equal(ownership_create(&ownership, workers, panel_tokens), STATUS_OK);
    assert_int_equal(ownership_workers(ownership), workers);
    assert_int_equal(ownership_panel_tokens(ownership), panel_tokens);
    assert_int_equal(ownership_tokens(ownership), 0);
    return ownership;
}

static void advance(struct ownership *ownership, int64_t tokens, enum partition_kind kind)
{
    assert_int_equal(ownership_advance(ownership, tokens, kind, NULL), STATUS_OK);
}

/* The iterator, the counts and the owner of each token tell the same story. */
static void check_agreement(const struct ownership *ownership)
{
    const int64_t tokens = ownership_tokens(ownership);
    const int panel = ownership_panel_tokens(ownership);
    for (int64_t first = 0; first <= tokens; first += 3) {
        for (int64_t end = first; end <= tokens + 2; end += 2) {
            int64_t counted[WORKERS_MAX] = {0};
            int64_t panels[WORKERS_MAX] = {0};
            const int64_t last = end < tokens ? end : tokens;
            for (int64_t j = first; j < last; j++) {
                const int owner = ownership_owner(ownership, j);
                assert_in_range(owner, 0, ownership_workers(ownership) - 1);
                counted[owner]++;
                panels[owner] += j == first || j % panel == 0;
                assert_int_equal(owner, ownership_owner(ownership, j - j % panel));
            }
            for (int r = 0; r < ownership_workers(ownership); r++) {
                const struct span within = {first, end};
                assert_int_equal(ownership_count(ownership, r, within), counted[r]);
                assert_int_equal(ownership_panels(ownership, r, within), panels[r]);
            }
            int64_t index = first;
            int64_t next = first;
            struct owned_span owned;
            while (ownership_next(ownership, &index, end, &owned)) {
                assert_int_equal(owned.span.first, next);
                assert_true(owned.span.end > owned.span.first && owned.span.end <= last);
                for (int64_t j = owned.span.first; j < owned.span.end; j++)
                    assert_int_equal(ownership_owner(ownership, j), owned.owner);
                next = index;
                assert_int_equal(next, owned.span.end);
            }
            assert_int_equal(next, last > first ? last : first);
        }
    }
}

static int64_t runs_of(const struct ownership *ownership)
{
    int64_t index = 0;
    int64_t runs = 0;
    struct owned_span owned;
    while (ownership_next(ownership, &index, INT64_MAX, &owned))
        runs++;
    return runs;
}

static void a_contiguous_stage_is_one_run_a_rank_of_nearly_equal_length(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++) {
        for (int panel = 1; panel <= 4; panel++) {
            for (int64_t tokens = 0; tokens <= TOKENS_MAX; tokens++) {
                struct ownership *ownership = create(workers, panel);
                advance(ownership, tokens, PARTITION_CONTIGUOUS);
                assert_int_equal(ownership_tokens(ownership), tokens);
                check_agreement(ownership);
                const int64_t panels = (tokens + panel - 1) / panel;
                const struct span all = {0, tokens};
                for (int r = 0; r < workers; r++)
                    assert_int_equal(ownership_panels(ownership, r, all),
                                     panels / workers + (r < panels % workers));
                for (int64_t j = 1; j < tokens; j++)
                    assert_true(ownership_owner(ownership, j) >= ownership_owner(ownership, j - 1));
                assert_int_equal(runs_of(ownership), panels < workers ? panels : workers);
                ownership_destroy(ownership);
            }
        }
    }
}

static void zigzag_gives_each_rank_an_early_and_a_late_run(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++) {
        for (int64_t panels = 0; panels <= TOKENS_MAX; panels++) {
            struct ownership *ownership = create(workers, 2);
            advance(ownership, 2 * panels, PARTITION_ZIGZAG);
            check_agreement(ownership);
            /* Chunk c of 2N, the first ones a panel longer, belongs to rank c or 2N - 1 - c. */
            int64_t panel = 0;
            for (int c = 0; c < 2 * workers; c++) {
                const int64_t size = panels / (2 * workers) + (c < panels % (2 * workers));
                for (int64_t n = 0; n < size; n++, panel++)
                    assert_int_equal(ownership_owner(ownership, 2 * panel + 1),
                                     c < workers ? c : 2 * workers - 1 - c);
            }
            assert_int_equal(panel, panels);
            ownership_destroy(ownership);
        }
    }
    struct ownership *ownership = create(2, 64);
    advance(ownership, 512, PARTITION_ZIGZAG);
    assert_int_equal(runs_of(ownership), 3);
    /* Every stage is dealt anew. */
    advance(ownership, 512, PARTITION_ZIGZAG);
    for (int64_t j = 0; j < 512; j++)
        assert_int_equal(ownership_owner(ownership, 512 + j), ownership_owner(ownership, j));
    ownership_destroy(ownership);
}

static void a_longer_prompt_never_gives_a_rank_less(void **state)
{
    (void)state;
    for (int kind = PARTITION_CONTIGUOUS; kind <= PARTITION_ROUND_ROBIN; kind++) {
        for (int workers = 1; workers <= WORKERS_MAX; workers++) {
            int64_t before[WORKERS_MAX] = {0};
            for (int64_t tokens = 1; tokens <= 60; tokens++) {
                struct ownership *ownership = create(workers, 1);
                advance(ownership, tokens, (enum partition_kind)kind);
                for (int r = 0; r < workers; r++) {
                    const int64_t count = ownership_count(ownership, r, (struct span){0, tokens});
                    assert_true(count >= before[r]);
                    before[r] = count;
                }
                ownership_destroy(ownership);
            }
        }
    }
}

static void a_stage_that_starts_inside_a_panel_continues_with_its_owner(void **state)
{
    (void)state;
    struct ownership *ownership = create(2, 4);
    advance(ownership, 6, PARTITION_CONTIGUOUS); /* panel 0: rank 0; 4 and 5: rank 1 */
    assert_int_equal(ownership_owner(ownership, 5), 1);
    advance(ownership, 1, PARTITION_CONTIGUOUS); /* no new panel */
    assert_int_equal(ownership_owner(ownership, 6), 1);
    advance(ownership, 10, PARTITION_CONTIGUOUS); /* 7: rank 1; panels 2, 3: rank 0; 4: rank 1 */
    assert_int_equal(ownership_owner(ownership, 7), 1);
    assert_int_equal(ownership_owner(ownership, 8), 0);
    assert_int_equal(ownership_owner(ownership, 15), 0);
    assert_int_equal(ownership_owner(ownership, 16), 1);
    check_agreement(ownership);
    ownership_clear(ownership);
    assert_int_equal(ownership_tokens(ownership), 0);
    advance(ownership, 4, PARTITION_ZIGZAG);
    assert_int_equal(ownership_owner(ownership, 3), 0);
    ownership_destroy(ownership);
}

static void decode_deals_panels_in_turn(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++) {
        struct ownership *ownership = create(workers, 3);
        advance(ownership, 10, PARTITION_ZIGZAG); /* ends inside panel 3 */
        const int owner = ownership_owner(ownership, 9);
        for (int n = 0; n < 30; n++)
            advance(ownership, 1, PARTITION_ROUND_ROBIN);
        assert_int_equal(ownership_owner(ownership, 11), owner);
        for (int64_t j = 12; j < 40; j++)
            assert_int_equal(ownership_owner(ownership, j), j / 3 % workers);
        check_agreement(ownership);
        ownership_destroy(ownership);
    }
}

static void what_is_given_to_one_rank_is_its_own_and_goes_on_with_it(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++) {
        struct ownership *ownership = create(workers, 3);
        const int last = workers - 1;
        const struct owned_span next = {{40, 41}, last};
        advance(ownership, 31, PARTITION_ZIGZAG);
        advance(ownership, 9, PARTITION_ROUND_ROBIN);
        assert_int_equal(ownership_give(ownership, last), STATUS_OK);
        assert_int_equal(ownership_tokens(ownership), 40);
        assert_int_equal(ownership_deal(ownership, &next, 1), STATUS_OK);
        assert_int_equal(ownership_count(ownership, last, (struct span){0, 41}), 41);
        check_agreement(ownership);
        ownership_destroy(ownership);
    }
}

/* A fork has the owners of what it was made from, and no span of it goes from there into what it
 * was dealt itself, nor does one of its own forks. */
static void a_fork_goes_on_in_spans_of_its_own(void **state)
{
    (void)state;
    enum { PANEL = 3, FROM = 20, MORE = 17 };
    for (int workers = 1; workers <= 3; workers++) {
        struct ownership *from = create(workers, PANEL);
        advance(from, 13, PARTITION_ZIGZAG);
        advance(from, FROM - 13, PARTITION_CONTIGUOUS);
        for (int64_t tokens = 0; tokens <= FROM; tokens++) {
            struct ownership *fork, *again;
            const int64_t whole = tokens - tokens % PANEL;
            assert_int_equal(ownership_fork(&fork, from, tokens), STATUS_OK);
            assert_int_equal(ownership_tokens(fork), tokens);
            advance(fork, MORE, PARTITION_CONTIGUOUS);
            check_agreement(fork);
            for (int64_t j = 0; j < tokens; j++)
                assert_int_equal(ownership_owner(fork, j), ownership_owner(from, j));
            assert_int_equal(ownership_fork(&again, fork, tokens + MORE), STATUS_OK);
            advance(again, MORE, PARTITION_CONTIGUOUS);
            check_agreement(again);
            struct owned_span owned;
            for (int64_t index = 0; ownership_next(again, &index, tokens + 2 * MORE, &owned);) {
                const int64_t grown = tokens + MORE - (tokens + MORE) % PANEL;
                assert_true(owned.span.end <= whole || owned.span.first >= whole);
                assert_true(owned.span.end <= grown || owned.span.first >= grown);
            }
            ownership_destroy(again);
            ownership_destroy(fork);
        }
        ownership_destroy(from);
    }
}

/* Whatever goes on from there is as if the forgotten tokens had never been. */
static void what_is_forgotten_leaves_no_trace(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++)
        for (int64_t prompt = 0; prompt <= 12; prompt++)
            for (int64_t kept = prompt; kept <= prompt + 6; kept++) {
                struct ownership *ownership = create(workers, 2), *never = create(workers, 2);
                advance(ownership, prompt, PARTITION_CONTIGUOUS);
                advance(never, prompt, PARTITION_CONTIGUOUS);
                advance(ownership, kept - prompt + 9, PARTITION_ROUND_ROBIN);
                ownership_retreat(ownership, kept);
                advance(never, kept - prompt, PARTITION_ROUND_ROBIN);
                assert_int_equal(ownership_tokens(ownership), kept);
                advance(ownership, 7, PARTITION_ZIGZAG);
                advance(never, 7, PARTITION_ZIGZAG);
                check_agreement(ownership);
                for (int64_t i = 0; i < kept + 7; i++)
                    assert_int_equal(ownership_owner(ownership, i), ownership_owner(never, i));
                ownership_destroy(ownership);
                ownership_destroy(never);
            }
}

static void shards_given_by_hand_are_checked(void **state)
{
    (void)state;
    struct ownership *ownership = create(3, 2);
    const struct owned_span good[] = {{{0, 4}, 2}, {{4, 4}, 0}, {{4, 7}, 1}};
    assert_int_equal(ownership_deal(ownership, good, 3), STATUS_OK);
    assert_int_equal(ownership_owner(ownership, 3), 2);
    assert_int_equal(ownership_owner(ownership, 6), 1);
    check_agreement(ownership);
    const struct owned_span bad[] = {
        {{6, 9}, 1},  /* before the end */
        {{8, 9}, 1},  /* a gap */
        {{7, 5}, 1},  /* backwards */
        {{7, 9}, 3},  /* no such rank */
        {{7, 9}, -1}, /* no such rank */
        {{7, 9}, 0},  /* inside rank 1's panel */
    };
    for (size_t b = 0; b < sizeof bad / sizeof bad[0]; b++) {
        assert_int_equal(ownership_deal(ownership, &bad[b], 1), STATUS_INVALID_ARGUMENT);
        assert_int_equal(ownership_tokens(ownership), 7);
    }
    const struct owned_span empty = {{7, 7}, 0};
    const struct owned_span more[] = {{{7, 8}, 1}, {{8, 12}, 0}};
    assert_int_equal(ownership_deal(ownership, &empty, 1), STATUS_OK);
    assert_int_equal(ownership_deal(ownership, more, 2), STATUS_OK);
    assert_int_equal(ownership_tokens(ownership), 12);
    assert_int_equal(ownership_owner(ownership, 7), 1);
    assert_int_equal(ownership_owner(ownership, 8), 0);
    check_agreement(ownership);
    const struct owned_span stranger = {{12, 14}, 3};
    assert_int_equal(ownership_deal(ownership, &stranger, 1), STATUS_INVALID_ARGUMENT);
    ownership_destroy(ownership);
    ownership_destroy(NULL);
}

static void a_panel_lives_while_some_key_of_it_is_within_reach(void **state)
{
    (void)state;
    for (int panel = 1; panel <= 4; panel++) {
        struct ownership *ownership = create(1, panel);
        for (int64_t reach = 1; reach <= 9; reach++) {
            for (int64_t next = 0; next <= 30; next++) {
                int64_t first = 0;
                while (next - (first + panel - 1) >= reach)
                    first += panel;
                assert_int_equal(ownership_live_first(ownership, next, reach), first);
            }
        }
        assert_int_equal(ownership_live_first(ownership, 30, BANDS_OPEN), 0);
        assert_int_equal(ownership_live_first(ownership, 30, 0), 30 - 30 % panel);
        ownership_destroy(ownership);
    }
}

static void split_rows_are_whole_groups_and_cover_all(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++) {
        for (int64_t rows = 0; rows <= 100; rows++) {
            int64_t next = 0;
            for (int r = 0; r < workers; r++) {
                const struct span share = partition_rows(rows, 16, workers, r);
                assert_int_equal(share.first, next);
                assert_true(share.end >= share.first);
                assert_true(share.end % 16 == 0 || share.end == rows);
                assert_true(share.end - share.first <= 16 * ((rows + 15) / 16 / workers + 1));
                next = share.end;
            }
            assert_int_equal(next, rows);
        }
    }
    const struct span last = partition_rows(100, 16, 2, 1);
    assert_int_equal(last.first, 48);
    assert_int_equal(last.end, 100);
}

/* Every rank's panels are its share, to less than one; and zigzag's pairs too, to what a panel of
 * rows and one of the middle sees. */
static void check_shares(int workers, int panel, int64_t tokens,
                         const struct partition_weights *weights, enum partition_kind kind)
{
    struct ownership *ownership = create(workers, panel);
    assert_int_equal(ownership_advance(ownership, tokens, kind, weights), STATUS_OK);
    assert_int_equal(ownership_tokens(ownership), tokens);
    check_agreement(ownership);
    const int64_t panels = (tokens + panel - 1) / panel;
    double whole = 0;
    for (int r = 0; r < workers; r++)
        whole += weights->parts[r];
    for (int r = 0; r < workers; r++) {
        const double share = (double)panels * weights->parts[r] / whole;
        const double owned = (double)ownership_panels(ownership, r, (struct span){0, tokens});
        if (owned <= share - 1 || owned >= share + 1)
            fail_msg("rank %d of %d has %g of %lld panels, its share is %g", r, workers, owned,
                     (long long)panels, share);
        double pairs = 0;
        for (int64_t i = 0; i < tokens; i++)
            pairs += ownership_owner(ownership, i) == r ? (double)i + 1 : 0;
        const double wanted = (double)(tokens * (tokens + 1)) / 2 * weights->parts[r] / whole;
        if (kind == PARTITION_ZIGZAG && fabs(pairs - wanted) > 2.0 * panel * (double)tokens)
            fail_msg("rank %d of %d has %g pairs, its share is %g", r, workers, pairs, wanted);
    }
    assert_true(runs_of(ownership) <= (kind == PARTITION_ZIGZAG ? 2 : 1) * workers);
    ownership_destroy(ownership);
}

/* All weights of up to 4 parts. */
static void shares_follow_the_weights(void **state)
{
    (void)state;
    for (int workers = 2; workers <= 4; workers++)
        for (int n = 0; n < 1 << 2 * workers; n++) {
            struct partition_weights weights = {.count = workers};
            for (int r = 0; r < workers; r++)
                weights.parts[r] = (uint8_t)(1 + (n >> 2 * r & 3));
            for (int64_t tokens = 0; tokens <= TOKENS_MAX; tokens += 4)
                for (int kind = PARTITION_CONTIGUOUS; kind <= PARTITION_ZIGZAG; kind++)
                    check_shares(workers, 1 + n % 3, tokens, &weights, (enum partition_kind)kind);
        }
}

static void a_worker_half_as_fast_gets_half(void **state)
{
    (void)state;
    const struct partition_weights weights = {.count = 3, .parts = {16, 8, 16}};
    for (int kind = PARTITION_CONTIGUOUS; kind <= PARTITION_ZIGZAG; kind++) {
        struct ownership *ownership = create(3, 64);
        const struct span all = {0, 64 * 5000};
        assert_int_equal(ownership_advance(ownership, all.end, (enum partition_kind)kind, &weights),
                         STATUS_OK);
        assert_int_equal(ownership_panels(ownership, 0, all), 2000);
        assert_int_equal(ownership_panels(ownership, 1, all), 1000);
        assert_int_equal(ownership_panels(ownership, 2, all), 2000);
        ownership_destroy(ownership);
    }
}

/* Weights that are all the same change nothing, and neither do they where panels go round. */
static void the_same_weights_are_none(void **state)
{
    (void)state;
    for (int workers = 1; workers <= WORKERS_MAX; workers++)
        for (int64_t tokens = 0; tokens <= TOKENS_MAX; tokens++)
            for (int kind = PARTITION_CONTIGUOUS; kind <= PARTITION_ROUND_ROBIN; kind++) {
                struct partition_weights weights = {.count = workers};
                struct ownership *with = create(workers, 2), *without = create(workers, 2);
                for (int r = 0; r < workers; r++)
                    weights.parts[r] = (uint8_t)(kind == PARTITION_ROUND_ROBIN ? r + 1 : 7);
                assert_int_equal(
                    ownership_advance(with, tokens, (enum partition_kind)kind, &weights),
                    STATUS_OK);
                advance(without, tokens, (enum partition_kind)kind);
                for (int64_t i = 0; i < tokens; i++)
                    assert_int_equal(ownership_owner(with, i), ownership_owner(without, i));
                ownership_destroy(with);
                ownership_destroy(without);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_contiguous_stage_is_one_run_a_rank_of_nearly_equal_length),
        cmocka_unit_test(zigzag_gives_each_rank_an_early_and_a_late_run),
        cmocka_unit_test(a_longer_prompt_never_gives_a_rank_less),
        cmocka_unit_test(a_stage_that_starts_inside_a_panel_continues_with_its_owner),
        cmocka_unit_test(decode_deals_panels_in_turn),
        cmocka_unit_test(what_is_given_to_one_rank_is_its_own_and_goes_on_with_it),
        cmocka_unit_test(a_fork_goes_on_in_spans_of_its_own),
        cmocka_unit_test(what_is_forgotten_leaves_no_trace),
        cmocka_unit_test(shards_given_by_hand_are_checked),
        cmocka_unit_test(a_panel_lives_while_some_key_of_it_is_within_reach),
        cmocka_unit_test(split_rows_are_whole_groups_and_cover_all),
        cmocka_unit_test(shares_follow_the_weights),
        cmocka_unit_test(a_worker_half_as_fast_gets_half),
        cmocka_unit_test(the_same_weights_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
