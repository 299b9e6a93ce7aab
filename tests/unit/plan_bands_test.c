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
            const struct band *band = bands_find(bands, i, j);
            assert_int_equal(band != NULL, sees);
            if (!band)
                continue;
            assert_int_equal(band->key_frame, key_frame);
            assert_true(bands_position(&bands->query_frame[band->query_frame], i) -
                            bands_position(&bands->key_frame[key_frame], j) ==
                        distance);
        }
    }
}

/* The table's own claim about the distance beyond which nothing more is seen. */
static void check_reach(const struct bands *bands)
{
    const int64_t reach = bands_reach(bands);
    bool any = reach == 0;
    for (int64_t i = 0; i < 8 * TOKENS; i++) {
        for (int64_t j = 0; j <= i; j++) {
            const struct band *band = bands_find(bands, i, j);
            if (!band || bands_store_of(bands, band) != BANDS_PANELS)
                continue;
            assert_true(i - j < reach);
            any = any || i - j == reach - 1;
        }
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
    REFUSED_WITH(bands.window = -1);
    REFUSED_WITH(bands.window = INT64_MAX);
    REFUSED_WITH(bands.query_frames = 0);
    REFUSED_WITH(bands.query_frames = BANDS_FRAMES_MAX + 1);
    REFUSED_WITH(bands.query_frames = 1);
    REFUSED_WITH(bands.count = 3);
    REFUSED_WITH(bands.query_frame[1].scale = INFINITY);
    REFUSED_WITH(bands.query_frame[1].offset = NAN);
    REFUSED_WITH(bands.query_frame[0].offset = 1e18);
    REFUSED_WITH(bands.query_frame[0].cap = NAN);
    REFUSED_WITH(bands.key_frame[0].group = 0);
    REFUSED_WITH(bands.key_frame[0].parts = 0);
    REFUSED_WITH(bands.query_frame[1].parts = BANDS_PARTS_MAX + 1);
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
