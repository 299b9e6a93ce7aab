/* Methods by their bands alone, in float64: the toy's vectors, the identities between methods, and
 * decode over shards, without kernels or ranks. */
#include "tests/support/unit.h"

#include <math.h>

#include "tests/support/method_vectors.h"
#include "tests/support/plan_methods.h"

enum { LENGTH = 60, TOKENS = METHOD_VECTORS_TOKENS };

static struct bands bands_of(const char *spelling)
{
    const struct method method = plan_methods_parse(spelling);
    struct bands bands;
    const char *reason;
    method_bands(&method, &bands);
    if (!bands_check(&bands, &reason))
        fail_msg("%s: %s", spelling, reason);
    return bands;
}

/* Whether i sees j; then at which distance, and whether it reads a copy that is for sinks only. */
static bool sees(const struct bands *bands, int64_t i, int64_t j, double *distance, bool *far)
{
    const struct band *band = bands_find(bands, i, j);
    if (!band)
        return false;
    *distance = bands_position(&bands->query_frame[band->query_frame], i) -
                bands_position(&bands->key_frame[band->key_frame], j);
    *far = bands_store_of(bands, band) == BANDS_SINKS;
    return true;
}

static void bands_are_the_definitions_pair_by_pair(void **state)
{
    (void)state;
    for (int m = 0; m < plan_methods_count; m++) {
        const struct bands bands = bands_of(plan_methods[m].spelling);
        for (int64_t i = 0; i < LENGTH; i++)
            for (int64_t j = 0; j < LENGTH; j++) {
                double got = 0, expected = 0;
                bool far = false, expected_far = false;
                const bool visible = sees(&bands, i, j, &got, &far);
                if (visible !=
                        plan_methods_sees(&plan_methods[m], i, j, &expected, &expected_far) ||
                    (visible && (fabs(got - expected) > 1e-12 || far != expected_far)))
                    fail_msg("%s: (%lld, %lld) is %g, not %g", plan_methods[m].spelling,
                             (long long)i, (long long)j, got, expected);
            }
    }
}

/* The part of a row that a shard of keys computes; -inf and 0 where it sees none. */
static struct method_vectors_row part(const struct bands *bands, bool test_b, int64_t i,
                                      struct span keys)
{
    double sum = 0, acc = 0;
    for (int64_t j = keys.first; j < keys.end; j++) {
        double e;
        bool far;
        if (!sees(bands, i, j, &e, &far))
            continue;
        const double weight = exp((test_b ? -sin(e) : cos(e)) / sqrt(2));
        sum += weight;
        acc += weight * (double)j;
    }
    return (struct method_vectors_row){sum > 0 ? acc / sum : 0, log(sum)};
}

static void expect_row(const char *what, struct method_vectors_row got,
                       struct method_vectors_row expected)
{
    if (!(fabs(got.o - expected.o) < 6e-7) ||
        !(got.lse == expected.lse || fabs(got.lse - expected.lse) < 6e-7))
        fail_msg("%s: (%.7f, %.7f), not (%.6f, %.6f)", what, got.o, got.lse, expected.o,
                 expected.lse);
}

static void the_vectors_of_the_methods_hold(void **state)
{
    (void)state;
    for (int v = 0; v < method_vectors_count; v++) {
        const struct method_vector *vector = &method_vectors[v];
        const struct bands bands = bands_of(vector->spelling);
        const struct span all = {0, TOKENS};
        expect_row(vector->spelling, part(&bands, false, 5, all), vector->a5);
        expect_row(vector->spelling, part(&bands, false, 11, all), vector->a11);
        expect_row(vector->spelling, part(&bands, true, 5, all), vector->b5);
        expect_row(vector->spelling, part(&bands, true, 11, all), vector->b11);
        for (int64_t j = 0; j < TOKENS; j++) {
            double e = -1;
            bool far;
            assert_true(sees(&bands, TOKENS - 1, j, &e, &far) == (vector->last[j] >= 0));
            assert_true(e == vector->last[j]);
        }
    }
}

static struct method_vectors_row merge(struct method_vectors_row a, struct method_vectors_row b)
{
    const double most = fmax(a.lse, b.lse);
    const double left = exp(a.lse - most), right = exp(b.lse - most);
    return (struct method_vectors_row){(left * a.o + right * b.o) / (left + right),
                                       most + log(left + right)};
}

static void decode_over_three_shards_merges_to_the_whole(void **state)
{
    (void)state;
    static const struct {
        const char *spelling;
        struct method_vectors_row shards[3], whole;
    } cases[] = {
        {"rope",
         {{1.444659, 1.092898}, {5.140688, 1.709824}, {10.061223, 1.554993}},
         {6.067317, 2.583692}},
        {"string:shift=4,local=1",
         {{1.605791, 1.757914}, {5.912768, 1.205024}, {10.061223, 1.554993}},
         {5.527919, 2.629888}},
        {"lm_infinite:window=4,sinks=2",
         {{0.5, 0.230951}, {0, -INFINITY}, {10.061223, 1.554993}},
         {8.051964, 1.790901}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const struct bands bands = bands_of(cases[c].spelling);
        struct method_vectors_row merged = {0, -INFINITY};
        for (int shard = 0; shard < 3; shard++) {
            const struct method_vectors_row row =
                part(&bands, false, 11, (struct span){4 * shard, 4 * shard + 4});
            expect_row(cases[c].spelling, row, cases[c].shards[shard]);
            if (row.lse > -INFINITY)
                merged = merge(merged, row);
        }
        expect_row(cases[c].spelling, merged, cases[c].whole);
    }
}

/* The same pairs at the same distances, whatever the frames that give them. */
static void methods_that_are_the_same_see_the_same(void **state)
{
    (void)state;
    static const struct {
        const char *one, *other;
        double tolerance;
    } cases[] = {
        {"string:shift=5,local=5", "rope", 0},
        {"string:shift=60,local=3", "rope", 0},
        {"lm_infinite:window=60,sinks=3,ceiling=2", "rope", 0},
        {"lm_infinite:window=9,sinks=60,ceiling=9", "rerope:window=9", 0},
        {"rerope:window=60", "rope", 0},
        {"leaky_rerope:window=9,factor=1", "rope", 0},
        {"leaky_rerope:window=9,factor=1e6", "rerope:window=9", 1e-4},
        {"self_extend:window=9,group=1", "rope", 0},
        {"self_extend:window=60,group=7", "rope", 0},
        {"dca:chunk=65,local=5", "rope", 0},
        {"streaming_llm:window=60,sinks=4", "rope", 0},
        {"streaming_llm:window=8,sinks=0", "lm_infinite:window=9,sinks=0", 0},
        {"lampe:near=31,far=3,mapped=9,length=61", "rope", 0}, /* the text is too short */
        {"lampe:near=8,far=3,mapped=60,length=61", "rope", 0}, /* all of it fits */
        {"table:keys=plain", "rope", 0},
        {"table:keys=plain..4/shift:-3", "string:shift=4,local=1", 0},
        {"table:keys=plain..4/fixed:4", "rerope:window=4", 0},
        {"table:keys=plain..3/scale:3:2.5", "leaky_rerope:window=3,factor=2.5", 0},
        {"table:keys=plain..5/group:3:4", "self_extend:window=5,group=3", 0},
        {"table:sinks=5,keys=plain..3/hidden,sink_keys=plain..3/fixed:2",
         "lm_infinite:window=3,sinks=5,ceiling=2", 0},
        {"lampe:near=5,far=5,mapped=9,length=10", "rope", 0},
        {"lampe", "rope", 0}, /* no length has been told */
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        const struct bands one = bands_of(cases[c].one), other = bands_of(cases[c].other);
        for (int64_t i = 0; i < LENGTH; i++)
            for (int64_t j = 0; j <= i; j++) {
                double left = 0, right = 0;
                bool far;
                if (sees(&one, i, j, &left, &far) != sees(&other, i, j, &right, &far) ||
                    fabs(left - right) > cases[c].tolerance)
                    fail_msg("%s and %s: (%lld, %lld) is %g and %g", cases[c].one, cases[c].other,
                             (long long)i, (long long)j, left, right);
            }
    }
}

/* What is the same frame is kept and rotated once. */
static void equal_frames_are_one(void **state)
{
    (void)state;
    const struct bands leaky = bands_of("leaky_rerope:window=9,factor=1");
    const struct bands grouped = bands_of("self_extend:window=9,group=1");
    const struct bands string = bands_of("string:shift=9,local=9");
    assert_true(leaky.key_frames == 1 && leaky.query_frames == 1);
    assert_true(grouped.key_frames == 1 && grouped.query_frames == 1);
    assert_true(string.key_frames == 1 && string.query_frames == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bands_are_the_definitions_pair_by_pair),
        cmocka_unit_test(the_vectors_of_the_methods_hold),
        cmocka_unit_test(decode_over_three_shards_merges_to_the_whole),
        cmocka_unit_test(methods_that_are_the_same_see_the_same),
        cmocka_unit_test(equal_frames_are_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
