/* kernels/bands.c against the pairwise definition. */
#include "tests/support/unit.h"

#include "kernels/bands.h"
#include "tests/support/plan_cases.h"

enum { TOKENS = 20, TABLES = 300, SEED = 20240917 };

static int64_t effective(const struct bands *bands, const struct band *band, int64_t i, int64_t j)
{
    const struct bands_frame *frame = &bands->frame[band->query_frame];
    return frame->scale * i + frame->offset - (band->key_frame == 0 ? j : 0);
}

static void check_pairs(const struct bands *bands)
{
    for (int64_t i = 0; i < TOKENS; i++) {
        for (int64_t j = 0; j < TOKENS; j++) {
            int64_t distance;
            int key_frame = -1;
            const bool sees = cases_sees(bands, i, j, &distance, &key_frame);
            for (int frame = 0; frame < 2; frame++) {
                const struct band *band = bands_find(bands, i, j, frame);
                assert_int_equal(band != NULL, sees && frame == key_frame);
                if (band)
                    assert_int_equal(effective(bands, band, i, j), distance);
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
                for (int frame = 0; frame < 2; frame++)
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
        for (int key_frame = 0; key_frame < 2; key_frame++) {
            int expected_frame;
            int frame = -1;
            const enum bands_tile expected =
                classify(bands, queries, keys, key_frame, &expected_frame);
            assert_int_equal(bands_classify(bands, queries, keys, key_frame, &frame), expected);
            assert_int_equal(frame, expected == BANDS_FULL ? expected_frame : -1);
        }
    }
}

/* The table's own claims about lengths beyond which nothing more is seen. */
static void check_reach(const struct bands *bands)
{
    const int64_t reach = bands_reach(bands);
    bool any = reach == 0;
    for (int64_t i = 0; i < 8 * TOKENS; i++) {
        for (int64_t j = 0; j <= i; j++) {
            if (bands_find(bands, i, j, 0)) {
                assert_true(i - j < reach);
                any = any || i - j == reach - 1;
            }
        }
    }
    if (bands->count == 1 && reach != BANDS_OPEN)
        assert_true(any);
    bool far = false;
    for (int64_t i = 0; i < 4 * TOKENS; i++) {
        for (int64_t j = 0; j < bands->sinks; j++)
            far = far || bands_find(bands, i, j, 1);
        assert_int_equal(bands_far_sinks(bands, i + 1), far);
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
        const char *reason;
        cases_bands(&bands, &random, TOKENS);
        if (!bands_check(&bands, &reason))
            fail_msg("table %d: %s", n, reason);
        check_pairs(&bands);
        check_lanes(&bands, &random);
        check_tiles(&bands, &random);
        check_reach(&bands);
    }
}

static struct bands valid_table(void)
{
    struct bands bands = {.count = 4, .sinks = 2, .query_frames = 2};
    bands.frame[0] = (struct bands_frame){1, 0};
    bands.frame[1] = (struct bands_frame){0, 4};
    bands.list[0] = (struct band){BAND_ORDINARY, 0, BANDS_OPEN, 0, 4, BAND_IDENTITY, 0, 0, 0};
    bands.list[1] = (struct band){BAND_ORDINARY, 0, BANDS_OPEN, 4, BANDS_OPEN, BAND_MASK, 0, 0, 0};
    bands.list[2] = (struct band){BAND_SINK, 0, BANDS_OPEN, 0, 4, BAND_IDENTITY, 0, 0, 0};
    bands.list[3] = (struct band){BAND_SINK, 0, BANDS_OPEN, 4, BANDS_OPEN, BAND_CLAMP, 4, 1, 1};
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
    REFUSED_WITH(bands.list[0].distance_end = 3);
    REFUSED_WITH(bands.list[0].distance_end = 5);
    REFUSED_WITH(bands.list[1].distance_end = 9);
    REFUSED_WITH(bands.list[0].distance_first = 1);
    REFUSED_WITH(bands.list[0].distance_first = -1);
    REFUSED_WITH(bands.list[0].distance_end = 0);
    REFUSED_WITH(bands.list[0].query_first = -1);
    REFUSED_WITH(bands.list[0].query_first = 3);
    REFUSED_WITH(bands.list[0].query_end = 7);
    REFUSED_WITH(bands.list[2].query_end = 7);
    REFUSED_WITH(bands.list[0].query_end = 0);
    REFUSED_WITH(bands.list[0].key_frame = 1);
    REFUSED_WITH(bands.list[0].query_frame = 1);
    REFUSED_WITH(bands.list[0].query_frame = -1);
    REFUSED_WITH(bands.list[3].query_frame = 0);
    REFUSED_WITH(bands.list[3].key_frame = 0);
    REFUSED_WITH(bands.list[3].value = 5);
    REFUSED_WITH(bands.list[3].value = INT64_MAX);
    REFUSED_WITH(bands.list[3].value = INT64_MIN);
    REFUSED_WITH(bands.list[3].key_class = BAND_ORDINARY);
    REFUSED_WITH(bands.list[1].rule = BAND_CLAMP);
    REFUSED_WITH(bands.list[1].rule = BAND_SHIFT; bands.list[1].value = 2);
    REFUSED_WITH(bands.list[1].rule = BAND_SHIFT; bands.list[1].key_frame = 1);
    REFUSED_WITH(bands.list[1].rule = (enum band_rule)9);
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
