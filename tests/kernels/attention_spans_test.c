/* The ranges of keys that queries of a tile see, against the definition of every method pair by
 * pair, with positions that are the indices and with others. */
#include <math.h>

#include "kernels/attention_spans.h"
#include "tests/support/plan_methods.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum { TOKENS = 60, SINKS_MOST = 40, KINDS = 4 };

/* Kinds: the indices; jumps between sentences, as LongRecipe makes them, after the first tokens;
 * small steps, some of them 0; and no token near 0. */
static void make_positions(int32_t positions[TOKENS], int kind, struct random *random)
{
    int64_t at = kind == 3 ? 50 : 0;
    for (int t = 0; t < TOKENS; t++) {
        positions[t] = (int32_t)at;
        const bool jumps = kind == 1 && t % 7 == 6 && t > 2;
        at += kind == 2 ? random_between(random, 0, 3) : 1;
        at += jumps || kind == 3 ? random_between(random, 0, 12) : 0;
    }
}

/* The band through which a pair is seen, by kernels/bands.h: distances and query ranges of
 * positions, classes of keys by index. */
static const struct band *find(const struct bands *bands, const int32_t *positions, int64_t i,
                               int64_t j)
{
    const int64_t query = positions[i], key = positions[j];
    if (j > i || (bands->window > 0 && query - key >= bands->window))
        return NULL;
    for (int b = 0; b < bands->count; b++) {
        const struct band *band = &bands->list[b];
        const int64_t distance = query / band->unit - key / band->unit;
        if ((band->key_class == BAND_SINK) == (j < bands->sinks) && query >= band->query_first &&
            query < band->query_end && distance >= band->distance_first &&
            distance < band->distance_end)
            return band->masked ? NULL : band;
    }
    return NULL;
}

/* How many spans of the tile hold the pair; the last one of them. */
static int holders(const struct attention_spans *spans, int64_t token, int64_t key,
                   const struct attention_spans_regime **holder)
{
    int count = 0;
    for (int32_t s = 0; s < spans->count; s++)
        if (key >= spans->list[s].first[token] && key < spans->list[s].end[token]) {
            *holder = &spans->list[s];
            count++;
        }
    return count;
}

static void expect_pair(const struct bands *bands, const struct plan_method *method,
                        const int32_t *positions, const struct attention_spans_regime *holder,
                        int64_t i, int64_t j)
{
    const struct band *band = find(bands, positions, i, j);
    assert_int_equal(holder != NULL, band != NULL);
    if (!band)
        return;
    assert_int_equal(holder->query_frame, band->query_frame);
    assert_int_equal(holder->key_frame, band->key_frame);
    /* The method's own definition takes sinks by position. */
    const bool alike = (j < bands->sinks) == (positions[j] < bands->sinks);
    double distance;
    bool far;
    if (bands->window > 0 || !alike)
        return;
    assert_true(plan_methods_sees(method, positions[i], positions[j], &distance, &far));
    const double got = bands_position(&bands->query_frame[holder->query_frame], positions[i]) -
                       bands_position(&bands->key_frame[holder->key_frame], positions[j]);
    assert_true(fabs(got - distance) < 1e-9);
}

/* Each pair of the sample in one tile, tiles cut at random. */
static void check(const struct bands *bands, const struct plan_method *method,
                  const int32_t *positions, struct random *random)
{
    struct regimes regimes;
    regimes_make(&regimes, bands);
    for (int64_t q = 0, q_end; q < TOKENS; q = q_end) {
        q_end = q + random_between(random, 1, TOKENS - q + 1);
        for (int64_t k = 0, k_end; k < TOKENS; k = k_end) {
            k_end = k + random_between(random, 1, TOKENS - k + 1);
            struct attention_spans spans;
            attention_spans_make(&spans, &regimes, positions, (struct span){q, q_end},
                                 (struct span){k, k_end});
            int64_t seen = 0, held = 0;
            for (int64_t i = q; i < q_end; i++)
                for (int64_t j = k; j < k_end; j++) {
                    const struct attention_spans_regime *holder = NULL;
                    const int count = holders(&spans, i - q, j - k, &holder);
                    assert_true(count <= 1);
                    seen += count;
                    expect_pair(bands, method, positions, holder, i, j);
                }
            for (int32_t s = 0; s < spans.count; s++)
                for (int64_t t = 0; t < q_end - q; t++)
                    held += spans.list[s].end[t] - spans.list[s].first[t];
            assert_int_equal(seen, held);
            assert_true(spans.count <= seen);
        }
    }
}

static void a_query_sees_what_its_method_shows_at_its_position(void **unused)
{
    (void)unused;
    struct random random = {11};
    static const int64_t windows[] = {0, 1, 5, 70};
    for (int m = 0; m < plan_methods_count; m++) {
        const struct method method = plan_methods_parse(plan_methods[m].spelling);
        for (int kind = 0; kind < KINDS; kind++)
            for (int w = 0; w < 4; w++) {
                struct bands bands;
                int32_t positions[TOKENS];
                method_bands(&method, &bands);
                assert_true(bands.sinks <= SINKS_MOST);
                bands.window = windows[w];
                make_positions(positions, kind, &random);
                for (int round = 0; round < 5; round++)
                    check(&bands, &plan_methods[m], positions, &random);
            }
    }
}

static void positions_that_are_indices_change_nothing(void **unused)
{
    (void)unused;
    for (int m = 0; m < plan_methods_count; m++) {
        const struct method method = plan_methods_parse(plan_methods[m].spelling);
        struct bands bands;
        int32_t positions[TOKENS];
        method_bands(&method, &bands);
        for (int t = 0; t < TOKENS; t++)
            positions[t] = t;
        for (int64_t i = 0; i < TOKENS; i++)
            for (int64_t j = 0; j < TOKENS; j++)
                assert_true(find(&bands, positions, i, j) == bands_find(&bands, i, j));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_query_sees_what_its_method_shows_at_its_position),
        cmocka_unit_test(positions_that_are_indices_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
