/* Every field of a request's sampling at, inside and outside its limits: the coordinator and a
 * worker take the same, refuse the same, and say so in the same words. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "coordinator/sampling_request.h"
#include "tests/support/unit.h"

enum field { TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALTY };

static const char *const names[] = {"sampling.temperature", "sampling.top_k", "sampling.top_p",
                                    "sampling.min_p", "sampling.repetition_penalty"};

static Longhaul__V1__Sampling request_with(enum field field, double value)
{
    Longhaul__V1__Sampling request = LONGHAUL__V1__SAMPLING__INIT;
    switch (field) {
    case TEMPERATURE:
        request.optional_temperature_case =
            LONGHAUL__V1__SAMPLING__OPTIONAL_TEMPERATURE_TEMPERATURE;
        request.temperature = (float)value;
        break;
    case TOP_K:
        request.top_k = (int32_t)value;
        break;
    case TOP_P:
        request.optional_top_p_case = LONGHAUL__V1__SAMPLING__OPTIONAL_TOP_P_TOP_P;
        request.top_p = (float)value;
        break;
    case MIN_P:
        request.min_p = (float)value;
        break;
    case PENALTY:
        request.optional_repetition_penalty_case =
            LONGHAUL__V1__SAMPLING__OPTIONAL_REPETITION_PENALTY_REPETITION_PENALTY;
        request.repetition_penalty = (float)value;
        break;
    }
    return request;
}

/* What the worker makes of the same value: all the rest as the coordinator fills it in. */
static struct sampling sampling_with(enum field field, double value)
{
    struct sampling sampling = {0, 0, 1, 0, 1, 5};
    float *const floats[] = {&sampling.temperature, NULL, &sampling.top_p, &sampling.min_p,
                             &sampling.repetition_penalty};
    if (field == TOP_K)
        sampling.top_k = (int32_t)value;
    else
        *floats[field] = (float)value;
    return sampling;
}

static void expect_equal(const struct sampling *a, const struct sampling *b)
{
    assert_true(a->temperature == b->temperature && a->top_k == b->top_k && a->top_p == b->top_p);
    assert_true(a->min_p == b->min_p && a->repetition_penalty == b->repetition_penalty);
    assert_true(a->seed == b->seed);
}

static void expect(enum field field, double value, bool taken)
{
    const Longhaul__V1__Sampling request = request_with(field, value);
    const struct sampling there = sampling_with(field, value);
    const enum status wanted = taken ? STATUS_OK : STATUS_INVALID_ARGUMENT;
    struct sampling sampling = {0};
    const char *named = NULL, *named_there = NULL;
    char words[256];
    const enum status status = sampling_request_read(&sampling, &named, &request);
    snprintf(words, sizeof words, "%s", status_message());
    if (status != wanted)
        printf("%s = %.9g: %s\n", names[field], value, words);
    assert_int_equal(status, wanted);
    assert_int_equal(sampling_check(&there, &named_there), wanted);
    if (!taken) {
        assert_string_equal(named, names[field]);
        assert_string_equal(named_there, names[field]);
        assert_string_equal(words, status_message());
        assert_int_equal(strncmp(words, names[field], strlen(names[field])), 0);
        return;
    }
    Longhaul__Control__V1__RunSampling run;
    sampling_request_run(&run, &sampling);
    const struct sampling arrived = {run.temperature,        run.top_k, run.top_p, run.min_p,
                                     run.repetition_penalty, there.seed};
    assert_true(run.seed == sampling.seed);
    expect_equal(&arrived, &there);
}

/* The next float from `value` on, towards `towards`. */
static double beside(double value, double towards)
{
    return (double)nextafterf((float)value, (float)towards);
}

static void both_sides_draw_the_same_limits(void **state)
{
    (void)state;
    static const struct {
        enum field field;
        double least, most;
        bool takes_least, takes_most;
    } fields[] = {
        {TEMPERATURE, 0, 100, true, true},
        {TOP_P, 0, 1, false, true},
        {MIN_P, 0, 1, true, false},
        {PENALTY, 0.01, 100, true, true},
    };
    for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
        const enum field field = fields[f].field;
        const double least = fields[f].least, most = fields[f].most;
        expect(field, least, fields[f].takes_least);
        expect(field, beside(least, 1e9), true);
        expect(field, beside(least, -1e9), false);
        expect(field, (least + most) / 2, true);
        expect(field, most, fields[f].takes_most);
        expect(field, beside(most, -1e9), true);
        expect(field, beside(most, 1e9), false);
        const double never[] = {(double)NAN, -(double)NAN,    (double)INFINITY, -(double)INFINITY,
                                -1,          (double)FLT_MAX, -(double)FLT_MAX};
        for (size_t n = 0; n < sizeof never / sizeof never[0]; n++)
            expect(field, never[n], false);
    }
    expect(TOP_P, 1e-9, true);
    expect(MIN_P, -0.0, true);
}

static void both_sides_count_the_same_tokens(void **state)
{
    (void)state;
    expect(TOP_K, 0, true);
    expect(TOP_K, 1, true);
    expect(TOP_K, 1 << 30, true);
    expect(TOP_K, (1 << 30) + 1, false);
    expect(TOP_K, -1, false);
    expect(TOP_K, INT32_MAX, false);
    expect(TOP_K, INT32_MIN, false);
}

static void what_is_absent_is_greedy_with_a_seed_of_its_own(void **state)
{
    (void)state;
    const Longhaul__V1__Sampling empty = LONGHAUL__V1__SAMPLING__INIT;
    struct sampling first = {0}, second = {0};
    const char *field = NULL;
    assert_int_equal(sampling_request_read(&first, &field, NULL), STATUS_OK);
    assert_int_equal(sampling_request_read(&second, &field, &empty), STATUS_OK);
    assert_true(first.seed != second.seed);
    second.seed = first.seed;
    expect_equal(&first, &second);
    const struct sampling greedy = {0, 0, 1, 0, 1, first.seed};
    expect_equal(&first, &greedy);
}

static void a_given_seed_is_any_of_64_bits(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {0, 1, (UINT64_C(1) << 53) + 1, UINT64_C(1) << 63, UINT64_MAX};
    Longhaul__V1__Sampling request = LONGHAUL__V1__SAMPLING__INIT;
    request.optional_seed_case = LONGHAUL__V1__SAMPLING__OPTIONAL_SEED_SEED;
    for (size_t s = 0; s < sizeof seeds / sizeof seeds[0]; s++) {
        struct sampling sampling = {0};
        const char *field = NULL;
        request.seed = seeds[s];
        assert_int_equal(sampling_request_read(&sampling, &field, &request), STATUS_OK);
        assert_true(sampling.seed == seeds[s]);
    }
}

static void likeliest_tokens_are_as_many_as_there_are(void **state)
{
    (void)state;
    static const struct {
        int32_t likeliest;
        int64_t vocab;
        enum status right;
    } cases[] = {
        {-1, 100, STATUS_INVALID_ARGUMENT}, {0, 100, STATUS_OK}, {20, 100, STATUS_OK},
        {21, 100, STATUS_INVALID_ARGUMENT}, {7, 7, STATUS_OK},   {8, 7, STATUS_INVALID_ARGUMENT}};
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        assert_int_equal(sampling_check_likeliest(cases[c].likeliest, cases[c].vocab),
                         cases[c].right);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_sides_draw_the_same_limits),
        cmocka_unit_test(both_sides_count_the_same_tokens),
        cmocka_unit_test(what_is_absent_is_greedy_with_a_seed_of_its_own),
        cmocka_unit_test(a_given_seed_is_any_of_64_bits),
        cmocka_unit_test(likeliest_tokens_are_as_many_as_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
