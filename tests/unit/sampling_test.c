/* Every field of a request's sampling at, inside and outside its limits: the coordinator and a
 * worker take the same, refuse the same, and say so in the same words. */
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#include "coordinator/sampling_request.h"
#include "tests/support/unit.h"

enum field { TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALTY, PRESENCE, FREQUENCY, BIAS };

static const char *const names[] = {"sampling.temperature",
                                    "sampling.top_k",
                                    "sampling.top_p",
                                    "sampling.min_p",
                                    "sampling.repetition_penalty",
                                    "sampling.presence_penalty",
                                    "sampling.frequency_penalty",
                                    "sampling.logit_bias"};

/* A bias of a token, as a client sends it and as a worker has it. */
static Longhaul__V1__LogitBias sent_bias;
static Longhaul__V1__LogitBias *sent_biases[] = {&sent_bias};
static const int32_t biased_id = 3;
static float bias_there;

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
    case PRESENCE:
        request.presence_penalty = (float)value;
        break;
    case FREQUENCY:
        request.frequency_penalty = (float)value;
        break;
    case BIAS:
        longhaul__v1__logit_bias__init(&sent_bias);
        sent_bias.id = biased_id;
        sent_bias.bias = (float)value;
        request.n_logit_bias = 1;
        request.logit_bias = sent_biases;
        break;
    }
    return request;
}

/* What the worker makes of the same value: all the rest as the coordinator fills it in. */
static struct sampling sampling_with(enum field field, double value)
{
    struct sampling sampling = {.top_p = 1, .repetition_penalty = 1, .seed = 5};
    float *const floats[] = {&sampling.temperature,
                             NULL,
                             &sampling.top_p,
                             &sampling.min_p,
                             &sampling.repetition_penalty,
                             &sampling.presence_penalty,
                             &sampling.frequency_penalty,
                             &bias_there};
    if (field == BIAS) {
        sampling.bias_count = 1;
        sampling.bias_ids = &biased_id;
        sampling.biases = &bias_there;
    }
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
    assert_true(a->presence_penalty == b->presence_penalty);
    assert_true(a->frequency_penalty == b->frequency_penalty);
    assert_int_equal(a->bias_count, b->bias_count);
    for (int32_t n = 0; n < a->bias_count; n++)
        assert_true(a->bias_ids[n] == b->bias_ids[n] && a->biases[n] == b->biases[n]);
}

static void expect(enum field field, double value, bool taken)
{
    const Longhaul__V1__Sampling request = request_with(field, value);
    const struct sampling there = sampling_with(field, value);
    const enum status wanted = taken ? STATUS_OK : STATUS_INVALID_ARGUMENT;
    struct sampling_request sampling = {0};
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
    sampling_request_run(&run, &sampling.sampling);
    const struct sampling arrived = {.temperature = run.temperature,
                                     .top_k = run.top_k,
                                     .top_p = run.top_p,
                                     .min_p = run.min_p,
                                     .repetition_penalty = run.repetition_penalty,
                                     .seed = there.seed,
                                     .presence_penalty = run.presence_penalty,
                                     .frequency_penalty = run.frequency_penalty,
                                     .bias_count = (int32_t)run.n_bias_ids,
                                     .bias_ids = run.bias_ids,
                                     .biases = run.biases};
    assert_true(run.seed == sampling.sampling.seed && run.n_biases == run.n_bias_ids);
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
        {TEMPERATURE, 0, 100, true, true}, {TOP_P, 0, 1, false, true},
        {MIN_P, 0, 1, true, false},        {PENALTY, 0.01, 100, true, true},
        {PRESENCE, -2, 2, true, true},     {FREQUENCY, -2, 2, true, true},
        {BIAS, -100, 100, true, true},
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
                                -101,        (double)FLT_MAX, -(double)FLT_MAX};
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
    struct sampling_request first = {0}, second = {0};
    const char *field = NULL;
    assert_int_equal(sampling_request_read(&first, &field, NULL), STATUS_OK);
    assert_int_equal(sampling_request_read(&second, &field, &empty), STATUS_OK);
    assert_true(first.sampling.seed != second.sampling.seed);
    second.sampling.seed = first.sampling.seed;
    expect_equal(&first.sampling, &second.sampling);
    const struct sampling greedy = {
        .top_p = 1, .repetition_penalty = 1, .seed = first.sampling.seed};
    expect_equal(&first.sampling, &greedy);
}

static void a_given_seed_is_any_of_64_bits(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {0, 1, (UINT64_C(1) << 53) + 1, UINT64_C(1) << 63, UINT64_MAX};
    Longhaul__V1__Sampling request = LONGHAUL__V1__SAMPLING__INIT;
    request.optional_seed_case = LONGHAUL__V1__SAMPLING__OPTIONAL_SEED_SEED;
    for (size_t s = 0; s < sizeof seeds / sizeof seeds[0]; s++) {
        struct sampling_request sampling = {0};
        const char *field = NULL;
        request.seed = seeds[s];
        assert_int_equal(sampling_request_read(&sampling, &field, &request), STATUS_OK);
        assert_true(sampling.sampling.seed == seeds[s]);
    }
}

static void biases_are_of_tokens_and_not_too_many(void **state)
{
    (void)state;
    static Longhaul__V1__LogitBias *many[SAMPLING_BIASES_MAX + 1];
    static struct sampling_request read;
    Longhaul__V1__Sampling request = request_with(BIAS, 1);
    const char *field = NULL;
    for (size_t b = 0; b <= SAMPLING_BIASES_MAX; b++)
        many[b] = &sent_bias;
    request.logit_bias = many;
    request.n_logit_bias = SAMPLING_BIASES_MAX;
    assert_int_equal(sampling_request_read(&read, &field, &request), STATUS_OK);
    assert_null(field);
    assert_int_equal(sampling_check_biases(&read.sampling, &field, biased_id + 1), STATUS_OK);
    assert_int_equal(sampling_check_biases(&read.sampling, &field, biased_id),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(field, names[BIAS]);
    field = NULL;
    request.n_logit_bias++;
    assert_int_equal(sampling_request_read(&read, &field, &request), STATUS_INVALID_ARGUMENT);
    assert_string_equal(field, names[BIAS]);
    field = NULL;
    sent_bias.id = -1;
    request.n_logit_bias = 1;
    assert_int_equal(sampling_request_read(&read, &field, &request), STATUS_OK);
    assert_int_equal(sampling_check_biases(&read.sampling, &field, 100), STATUS_INVALID_ARGUMENT);
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
        cmocka_unit_test(biases_are_of_tokens_and_not_too_many),
        cmocka_unit_test(likeliest_tokens_are_as_many_as_there_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
