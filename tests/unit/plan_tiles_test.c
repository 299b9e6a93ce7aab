/* Closed forms of proto/plan/tiles.c against counting pairs, over random tables. */
#include "tests/support/unit.h"

#include "proto/plan/tiles.h"
#include "tests/support/plan_cases.h"

enum { TOKENS = 24, TABLES = 300, SEED = 9091 };

static int64_t pairs(const struct bands *bands, struct span queries, struct span keys,
                     enum bands_store store)
{
    int64_t count = 0;
    for (int64_t i = queries.first; i < queries.end; i++)
        for (int64_t j = keys.first; j < keys.end; j++) {
            double distance;
            int key_frame;
            if (cases_sees(bands, i, j, &distance, &key_frame))
                count += (key_frame >= bands->panel_frames) == (store == BANDS_SINKS);
        }
    return count;
}

/* Pairs beyond which, one key nearer or one farther, the distance is no longer the regime's; what
 * begins with the regime's first key does not count. */
static int64_t edges(const struct regimes *regimes, struct span queries, struct span keys,
                     enum bands_store store)
{
    int64_t count = 0;
    for (int r = 0; r < regimes->count; r++) {
        const struct regime *regime = &regimes->list[r];
        for (int64_t i = queries.first; i < queries.end && (int)store == regime->store; i++) {
            struct regime_part part;
            if (i < regime->query_first || i >= regime->query_end)
                continue;
            regime_part(&part, regime, i);
            for (int64_t j = keys.first; j < keys.end; j++) {
                const int64_t distance = i - j;
                if (j < part.key_first || j >= part.key_end || distance < part.distance_first ||
                    distance >= part.distance_end)
                    continue;
                count += distance - 1 < part.distance_first;
                count += distance + 1 >= part.distance_end && j > part.key_first;
            }
        }
    }
    return count;
}

/* The hull of the panels that the queries read, cut to `keys`. */
static struct span trim(const struct bands *bands, const struct span *queries, int count,
                        struct span keys, int panel)
{
    struct span read = {keys.first, keys.first};
    for (int64_t j = keys.first; j < keys.end; j++) {
        int64_t readers = 0;
        for (int q = 0; q < count; q++)
            readers += pairs(bands, queries[q], (struct span){j, j + 1}, BANDS_PANELS);
        if (readers == 0)
            continue;
        const int64_t panel_first = j - j % panel;
        const int64_t panel_end = panel_first + panel;
        if (read.first == read.end)
            read.first = panel_first > keys.first ? panel_first : keys.first;
        read.end = panel_end < keys.end ? panel_end : keys.end;
    }
    return read;
}

static void tiles_are_counted_read_and_trimmed_as_their_pairs_say(void **state)
{
    (void)state;
    struct cases_random random;
    cases_seed(&random, SEED);
    print_message("seed %d\n", SEED);
    for (int n = 0; n < TABLES; n++) {
        struct bands bands;
        struct regimes regimes;
        cases_wide_bands(&bands, &random, TOKENS);
        regimes_make(&regimes, &bands);
        for (int k = 0; k < 60; k++) {
            const int64_t a = cases_between(&random, 0, TOKENS);
            const int64_t b = cases_between(&random, 0, TOKENS);
            const struct span queries[2] = {{a, cases_between(&random, a, TOKENS)},
                                            {b, cases_between(&random, b, TOKENS)}};
            const int64_t c = cases_between(&random, 0, TOKENS);
            const struct span keys = {c, cases_between(&random, c, TOKENS)};
            for (int s = BANDS_PANELS; s <= BANDS_SINKS; s++) {
                const enum bands_store store = (enum bands_store)s;
                const int64_t expected = pairs(&bands, queries[0], keys, store);
                assert_int_equal(tiles_pairs(&regimes, queries[0], keys, store), expected);
                assert_int_equal(tiles_edges(&regimes, queries[0], keys, store),
                                 edges(&regimes, queries[0], keys, store));
                assert_int_equal(tiles_read(&regimes, queries[0], keys, store), expected > 0);
            }
            const int panel = (int)cases_between(&random, 1, 4);
            const struct span expected = trim(&bands, queries, 2, keys, panel);
            const struct span trimmed = tiles_trim(&regimes, queries, 2, keys, panel);
            assert_int_equal(trimmed.end - trimmed.first, expected.end - expected.first);
            if (expected.first < expected.end)
                assert_int_equal(trimmed.first, expected.first);
        }
    }
}

static void a_causal_triangle_is_counted_without_a_loop(void **state)
{
    (void)state;
    const struct regimes regimes = {.count = 1,
                                    .list = {{.query_end = BANDS_OPEN,
                                              .key_end = BANDS_OPEN,
                                              .unit = 1,
                                              .distance_end = BANDS_OPEN}}};
    const struct span all = {0, INT64_C(1) << 30};
    assert_true(tiles_pairs(&regimes, all, all, BANDS_PANELS) == (all.end * (all.end + 1)) / 2);
    assert_true(tiles_edges(&regimes, all, all, BANDS_PANELS) == all.end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiles_are_counted_read_and_trimmed_as_their_pairs_say),
        cmocka_unit_test(a_causal_triangle_is_counted_without_a_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
