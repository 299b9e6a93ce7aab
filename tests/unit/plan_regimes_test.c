/* kernels/regimes.c against the pairwise definition, over random tables. */
#include "tests/support/unit.h"

#include "kernels/regimes.h"
#include "tests/support/plan_cases.h"

enum { TOKENS = 20, TABLES = 300, SEED = 20240917 };

/* What one pair is seen through; its count. */
static int regimes_of(const struct regimes *regimes, int64_t i, int64_t j,
                      const struct regime **through)
{
    int count = 0;
    for (int r = 0; r < regimes->count; r++) {
        if (!regime_lanes(&regimes->list[r], i, j, 1))
            continue;
        *through = &regimes->list[r];
        count++;
    }
    return count;
}

/* Every pair lies in one regime, that of its band, or in none. */
static void check_pairs(const struct bands *bands, const struct regimes *regimes)
{
    for (int64_t i = 0; i < TOKENS; i++) {
        for (int64_t j = 0; j < TOKENS; j++) {
            const struct regime *regime = NULL;
            const struct band *band = bands_find(bands, i, j);
            assert_int_equal(regimes_of(regimes, i, j, &regime), band != NULL);
            if (!band)
                continue;
            assert_int_equal(regime->query_frame, band->query_frame);
            assert_int_equal(regime->key_frame, band->key_frame);
            assert_int_equal(regime->store, bands_store_of(bands, band));
        }
    }
}

static void check_lanes(const struct regimes *regimes, struct cases_random *random)
{
    for (int64_t i = 0; i < TOKENS; i++) {
        const int64_t first = cases_between(random, 0, TOKENS);
        const int count = (int)cases_between(random, 1, BANDS_LANES);
        for (int r = 0; r < regimes->count; r++) {
            uint64_t expected = 0;
            for (int t = 0; t < count; t++)
                expected |= regime_lanes(&regimes->list[r], i, first + t, 1) << t;
            assert_true(regime_lanes(&regimes->list[r], i, first, count) == expected);
        }
    }
}

/* The class of a tile, pair by pair. */
static enum regimes_tile classify(const struct regimes *regimes, struct span queries,
                                  struct span keys, enum bands_store store,
                                  const struct regime **through)
{
    int64_t visible = 0;
    bool one = true;
    *through = NULL;
    for (int64_t i = queries.first; i < queries.end; i++) {
        for (int64_t j = keys.first; j < keys.end; j++) {
            const struct regime *regime = NULL;
            if (!regimes_of(regimes, i, j, &regime) || (enum bands_store)regime->store != store)
                continue;
            visible++;
            one = one && (!*through || *through == regime);
            *through = regime;
        }
    }
    if (visible == 0)
        return REGIMES_SKIP;
    return one && visible == (queries.end - queries.first) * (keys.end - keys.first)
               ? REGIMES_WHOLE
               : REGIMES_MIXED;
}

/* A tile that several chunks see whole, each as a part of its own, counts as mixed. */
static void check_tiles(const struct regimes *regimes, struct cases_random *random)
{
    for (int n = 0; n < 200; n++) {
        const struct span queries = {cases_between(random, 0, TOKENS / 2),
                                     cases_between(random, 0, TOKENS)};
        const struct span keys = {cases_between(random, 0, TOKENS / 2),
                                  cases_between(random, 0, TOKENS)};
        for (int s = BANDS_PANELS; s <= BANDS_SINKS; s++) {
            const enum bands_store store = (enum bands_store)s;
            const struct regime *expected, *regime = NULL;
            const enum regimes_tile wanted = classify(regimes, queries, keys, store, &expected);
            const enum regimes_tile got = regimes_classify(regimes, queries, keys, store, &regime);
            if (got == REGIMES_MIXED && wanted == REGIMES_WHOLE) {
                assert_true(expected->unit > 1);
                assert_true(queries.first / expected->unit != (queries.end - 1) / expected->unit);
                continue;
            }
            assert_int_equal(got, wanted);
            assert_ptr_equal(regime, wanted == REGIMES_WHOLE ? expected : NULL);
        }
    }
}

static void check_far_sinks(const struct bands *bands, const struct regimes *regimes)
{
    bool far = false;
    for (int64_t i = 0; i < 4 * TOKENS; i++) {
        for (int64_t j = 0; j < bands->sinks; j++) {
            const struct band *band = bands_find(bands, i, j);
            far = far || (band && bands_store_of(bands, band) == BANDS_SINKS);
        }
        assert_int_equal(regimes_far_sinks(regimes, i + 1), far);
    }
}

static void random_tables_equal_the_pairwise_definition(void **state)
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
        check_pairs(&bands, &regimes);
        check_lanes(&regimes, &random);
        check_tiles(&regimes, &random);
        check_far_sinks(&bands, &regimes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tables_equal_the_pairwise_definition),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
