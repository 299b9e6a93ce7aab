/* kernels/bands.c against the pairwise definition. */
#include "tests/support/unit.h"

#include "kernels/bands.h"
#include "tests/support/plan_cases.h"

enum { TOKENS = 20, TABLES = 300, SEED = 20240917 };

static void check_pairs(const struct bands *bands)
{
    for (int64_t i = 0; i < TOKENS; i++) {
        for (int64_t j = 0; j < TOKENS; j++) {
            double distance;
            int key_frame = -1;
            const bool sees = cases_sees(bands, i, j, &distance, &key_frame);
            for (int frame = 0; frame < BANDS_FRAMES_MAX; frame++) {
                const struct band *band = bands_find(bands, i, j, frame);
                assert_int_equal(band != NULL, sees && frame == key_frame);
                if (band)
                    assert_true(bands_position(&bands->query_frame[band->query_frame], i) -
                                    bands_position(&bands->key_frame[frame], j) ==
                                distance);
            }
        }
    }
}

static void check_lanes(const struct bands *bands, struct cases_random *random)
{
    for (int64_t i = 0; i < TOKENS; i++) {
        const int64_t first = cases_between(random, 0, TOKENS);
        const int count = (int)cases_between(random, 1, BANDS_LANES);
        for (int b = 0; b < bands->count; b++) {
            const struct band *band = &bands->list[b];
            uint64_t expected = 0;
            for (int t = 0; t < count; t++)
                for (int frame = 0; frame < bands->key_frames; frame++)
                    if (bands_find(bands, i, first + t, frame) == band)
                        expected |= UINT64_C(1) << t;
            assert_true(bands_lanes(bands, band, i, first, count) == expected);
        }
    }
}

/* The class of a tile, pair by pair. */
static enum bands_tile classify(const struct bands *bands, struct span queries, struct span keys,
                                int key_frame, int *query_frame)
{
    int64_t visible = 0;
    bool one_frame = true;
    *query_frame = -1;
    for (int64_t i = queries.first; i < queries.end; i++) {
        for (int64_t j = keys.first; j < keys.end; j++) {
            const struct band *band = bands_find(bands, i, j, key_frame);
            if (!band)
                continue;
            visible++;
            one_frame = one_frame && (*query_frame < 0 || *query_frame == band->query_frame);
            *query_frame = band->query_frame;
        }
    }
    if (visible == 0)
        return BANDS_SKIP;
    return one_frame && visible == (queries.end - queries.first) * (keys.end - keys.first)
               ? BANDS_FULL
               : BANDS_MIXED;
}

static void check_tiles(const struct bands *bands, struct cases_random *random)
{
    for (int n = 0; n < 200; n++) {
        const struct span queries = {cases_between(random, 0, TOKENS / 2),
                                     cases_between(random, 0, TOKENS)};
        const struct span keys = {cases_between(random, 0, TOKENS / 2),
                                  cases_between(random, 0, TOKENS)};
        for (int key_frame = 0; key_frame < bands->key_frames; key_frame++) {
            int expected_frame;
            int frame = -1;
            const enum bands_tile expected =
                classify(bands, queries, keys, key_frame, &expected_frame);
            assert_int_equal(bands_classify(bands, queries, keys, key_frame, &frame), expected);
            assert_int_equal(frame, expected == BANDS_FULL ? expected_frame : -1);
        }
    }
}

static bool finds(const struct bands *bands, int64_t i, int64_t j, int first_frame, int end_frame)
{
    for (int frame = first_frame; frame < end_frame; frame++)
        if (bands_find(bands, i, j, frame))
            return true;
    return false;
}

/* The table's own claims about lengths beyond which nothing more is seen. */
static void check_reach(const struct bands *bands)
{
    const int64_t reach = bands_reach(bands);
    bool any = reach == 0;
    bool far = false;
    for (int64_t i = 0; i < 8 * TOKENS; i++) {
        for (int64_t j = 0; j <= i; j++) {
            if (finds(bands, i, j, 0, bands->panel_frames)) {
                assert_true(i - j < reach);
                any = any || i - j == reach - 1;
            }
            far = far || finds(bands, i, j, bands->panel_frames, bands->key_frames);
        }
        assert_int_equal(bands_far_sinks(bands, i + 1), far);
    }
    if (bands->count == 1 && reach != BANDS_OPEN)
        assert_true(any);
}

static void random_tables_equal_the_pairwise_definition(void **state)
{
    (void)state;
    struct cases_random random;
    cases_seed(&random, SEED);
    print_message("seed %d\n", SEED);
    for (int n = 0; n < TABLES; n++) {
        struct bands bands;
        const char *reason;
        cases_wide_bands(&bands, &random, TOKENS);
        if (!bands_check(&bands, &reason))
            fail_msg("table %d: %s", n, reason);
        check_pairs(&bands);
        check_lanes(&bands, &random);
        check_tiles(&bands, &random);
        check_reach(&bands);
    }
}

/* LM-Infinite with a window of 4, and a mask that counts chunks of 2. */
static struct bands valid_table(void)
{
    struct bands bands = {
        .count = 4,
        .list = {{.query_end = BANDS_OPEN, .unit = 2, .distance_end = 2},
                 {.query_end = BANDS_OPEN,
                  .unit = 2,
                  .distance_first = 2,
                  .distance_end = BANDS_OPEN,
                  .masked = true},
                 {BAND_SINK, 0, BANDS_OPEN, 1, 0, 4, false, 0, 0},
                 {BAND_SINK, 0, BANDS_OPEN, 1, 4, BANDS_OPEN, false, 1, 1}},
        .sinks = 2,
        .query_frames = 2,
        .query_frame = {BANDS_FRAME(1, 0), BANDS_FRAME(0, 4)},
        .key_frames = 2,
        .panel_frames = 1,
        .key_frame = {BANDS_FRAME(1, 0), BANDS_FRAME(0, 0)},
    };
    return bands;
}

static void refused(const struct bands *bands)
{
    const char *reason = NULL;
    assert_false(bands_check(bands, &reason));
    assert_non_null(reason);
}

static void a_wrong_table_is_refused(void **state)
{
    (void)state;
    const char *reason;
    struct bands bands = valid_table();
    assert_true(bands_check(&bands, &reason));
    assert_null(reason);

#define REFUSED_WITH(change)                                                                       \
    do {                                                                                           \
        bands = valid_table();                                                                     \
        change;                                                                                    \
        refused(&bands);                                                                           \
    } while (0)
    REFUSED_WITH(bands.count = 0);
    REFUSED_WITH(bands.count = BANDS_MAX + 1);
    REFUSED_WITH(bands.sinks = -1);
    REFUSED_WITH(bands.sinks = INT64_MAX);
    REFUSED_WITH(bands.sinks = 0);
    REFUSED_WITH(bands.query_frames = 0);
    REFUSED_WITH(bands.query_frames = BANDS_FRAMES_MAX + 1);
    REFUSED_WITH(bands.query_frames = 1);
    REFUSED_WITH(bands.count = 3);
    REFUSED_WITH(bands.query_frame[1].scale = INFINITY);
    REFUSED_WITH(bands.query_frame[1].offset = NAN);
    REFUSED_WITH(bands.query_frame[0].offset = 1e18);
    REFUSED_WITH(bands.query_frame[0].cap = NAN);
    REFUSED_WITH(bands.key_frame[0].group = 0);
    REFUSED_WITH(bands.key_frame[1].modulo = -1);
    REFUSED_WITH(bands.key_frames = 0);
    REFUSED_WITH(bands.key_frames = BANDS_FRAMES_MAX + 1);
    REFUSED_WITH(bands.key_frames = 1);
    REFUSED_WITH(bands.panel_frames = 0);
    REFUSED_WITH(bands.panel_frames = 3);
    REFUSED_WITH(bands.list[0].distance_end = 1);
    REFUSED_WITH(bands.list[0].distance_end = 3);
    REFUSED_WITH(bands.list[1].distance_end = 9);
    REFUSED_WITH(bands.list[0].distance_first = 1);
    REFUSED_WITH(bands.list[0].distance_first = -1);
    REFUSED_WITH(bands.list[0].distance_end = 0);
    REFUSED_WITH(bands.list[0].query_first = -1);
    REFUSED_WITH(bands.list[0].query_first = 3);
    REFUSED_WITH(bands.list[0].query_end = 7);
    REFUSED_WITH(bands.list[2].query_end = 7);
    REFUSED_WITH(bands.list[0].query_end = 0);
    REFUSED_WITH(bands.list[0].unit = 0);
    REFUSED_WITH(bands.list[0].unit = 1);
    REFUSED_WITH(bands.list[0].unit = INT64_MAX);
    REFUSED_WITH(bands.list[0].key_frame = 1);
    REFUSED_WITH(bands.list[0].query_frame = 2);
    REFUSED_WITH(bands.list[0].query_frame = -1);
    REFUSED_WITH(bands.list[3].key_frame = 2);
    REFUSED_WITH(bands.list[3].key_frame = -1);
    REFUSED_WITH(bands.list[3].key_class = BAND_ORDINARY);
    REFUSED_WITH(bands.list[1].key_class = (enum band_class)9);
#undef REFUSED_WITH
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_tables_equal_the_pairwise_definition),
        cmocka_unit_test(a_wrong_table_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
