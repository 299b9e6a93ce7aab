/* The spelling of methods, and their bands against the worked examples of docs/methods.md. */
#include "tests/support/unit.h"

#include <stdio.h>

#include "proto/plan/method.h"
#include "tests/support/plan_cases.h"

enum { TRAINED = 8192, MASKED = -1, AHEAD = -2, LENGTH = 12 };

static void parses_to(const char *text, const char *canonical)
{
    struct method method;
    struct method again;
    char printed[METHOD_TEXT_BYTES];
    if (method_parse(&method, text, TRAINED) != STATUS_OK)
        fail_msg("%s: %s", text, status_message());
    method_print(&method, printed);
    assert_string_equal(printed, canonical);
    assert_int_equal(method_parse(&again, printed, 0), STATUS_OK);
    assert_memory_equal(&again, &method, sizeof method);
}

static void a_method_is_spelt_with_the_defaults_of_the_model(void **state)
{
    (void)state;
    parses_to("rope", "rope");
    parses_to("string", "string:shift=2730,local=128,logit_scale=1");
    parses_to("string:shift=auto", "string:shift=2730,local=128,logit_scale=1");
    parses_to("string:shift=0.5,local=512", "string:shift=4096,local=512,logit_scale=1");
    parses_to("string:shift=100", "string:shift=100,local=100,logit_scale=1");
    parses_to("string:shift=128", "string:shift=128,local=128,logit_scale=1");
    parses_to("string:shift=129", "string:shift=129,local=128,logit_scale=1");
    parses_to("string:logit_scale=published,local=0,shift=4096",
              "string:shift=4096,local=0,logit_scale=1.143434");
    parses_to("string:logit_scale=1.0693147180559945",
              "string:shift=2730,local=128,logit_scale=1.0693147180559945");
    parses_to("string:logit_scale=100", "string:shift=2730,local=128,logit_scale=1e+02");
    parses_to("lm_infinite", "lm_infinite:window=8192,sinks=10,ceiling=8192");
    parses_to("lm_infinite:window=2048", "lm_infinite:window=2048,sinks=10,ceiling=2048");
    parses_to("lm_infinite:ceiling=0,sinks=0,window=1", "lm_infinite:window=1,sinks=0,ceiling=0");
    parses_to("string:shift=1099511627776,local=1",
              "string:shift=1099511627776,local=1,logit_scale=1");
}

static void a_neighbour_is_spelt_with_its_published_defaults(void **state)
{
    (void)state;
    parses_to("streaming_llm", "streaming_llm:window=2000,sinks=4");
    parses_to("streaming_llm:sinks=0,window=1", "streaming_llm:window=1,sinks=0");
    parses_to("rerope", "rerope:window=512");
    parses_to("leaky_rerope", "leaky_rerope:window=512,factor=16");
    parses_to("leaky_rerope:factor=2.5,window=3", "leaky_rerope:window=3,factor=2.5");
    parses_to("self_extend", "self_extend:window=1024,group=8");
    parses_to("dca", "dca:chunk=6144,local=512");
    parses_to("dca:chunk=8", "dca:chunk=8,local=7");
    parses_to("streaming_heads:heads=4,window=256", "streaming_heads:heads=4,window=256,sinks=4");
    parses_to("lampe", "lampe:near=512,far=200,mapped=1536,logit_scale=1");
    parses_to("lampe:length=9000,far=512,logit_scale=published",
              "lampe:near=512,far=512,mapped=1536,length=9000,logit_scale=1.143434");
    struct method method;
    char printed[METHOD_TEXT_BYTES];
    assert_int_equal(method_parse(&method, "streaming_llm", 1024), STATUS_OK);
    method_print(&method, printed);
    assert_string_equal(printed, "streaming_llm:window=1020,sinks=4");
    assert_int_equal(method_parse(&method, "streaming_llm", 0), STATUS_OK);
    method_print(&method, printed);
    assert_string_equal(printed, "streaming_llm:window=2000,sinks=4");
    assert_int_equal(method_parse(&method, "streaming_llm", 4), STATUS_INVALID_ARGUMENT);
}

static void any_method_takes_logn_and_frequencies(void **state)
{
    (void)state;
    parses_to("rope:logn=4096", "rope:logn=4096");
    parses_to("rope:logn=0", "rope");
    parses_to("lm_infinite:logn=9,window=4", "lm_infinite:window=4,sinks=10,ceiling=4,logn=9");
    parses_to("rope+linear:factor=2", "rope+linear:factor=2");
    parses_to("rope+ntk:factor=2.5", "rope+ntk:factor=2.5");
    parses_to("rope+ntk:factor=1e+05", "rope+ntk:factor=1e+05");
    parses_to("rope:logn=9+long", "rope:logn=9+long");
    parses_to("rope+yarn:factor=1", "rope+yarn:factor=1,original=8192,attention=1");
    parses_to("rope+yarn:factor=4", "rope+yarn:factor=4,original=8192,attention=1.138629436111989");
    parses_to("rope+yarn:original=0.5,attention=1,factor=4",
              "rope+yarn:factor=4,original=4096,attention=1");
    parses_to("string:shift=60,local=2,logit_scale=1e+01,logn=7+yarn:factor=2.68,original=2048",
              "string:shift=60,local=2,logit_scale=1e+01,logn=7+yarn:factor=2.68,original=2048,"
              "attention=1.0985816794522765");
    struct method method;
    assert_int_equal(method_parse(&method, "string:logn=77", TRAINED), STATUS_OK);
    assert_int_equal(method_logn(&method), 77);
    assert_true(method_logit_scale(&method) == 1 && !method_is_plain_rope(&method));
    assert_int_equal(method_parse(&method, "rope", TRAINED), STATUS_OK);
    assert_true(method_logn(&method) == 0 && method_is_plain_rope(&method));
    assert_int_equal(method_parse(&method, "rope+ntk:factor=3", TRAINED), STATUS_OK);
    assert_true(!method_is_plain_rope(&method));
}

static void a_table_of_ones_own_is_spelt_band_by_band(void **state)
{
    (void)state;
    parses_to("table:keys=plain", "table:keys=plain");
    parses_to("table:keys=plain..4/shift:-3e0", "table:keys=plain..4/shift:-3");
    parses_to("table:sink_keys=plain..4/fixed:4,logn=9,keys=plain..04/hidden,sinks=2",
              "table:sinks=2,logn=9,keys=plain..4/hidden,sink_keys=plain..4/fixed:4");
    parses_to("table:keys=plain..8/scale:8:2.50+linear:factor=2",
              "table:keys=plain..8/scale:8:2.5+linear:factor=2");
    parses_to("table:keys=fixed:1..2/plain..3/fixed:1..4/plain..5/fixed:1..6/plain..7/fixed:3",
              "table:keys=fixed:1..2/plain..3/fixed:1..4/plain..5/fixed:1..6/plain..7/fixed:3");
}

/* LaMPE's map is the same from the first key of a request to its last. */
static void a_length_is_frozen_when_a_request_is_known(void **state)
{
    (void)state;
    struct method method;
    char printed[METHOD_TEXT_BYTES];
    assert_int_equal(method_parse(&method, "lampe:near=4,far=3,mapped=5", 0), STATUS_OK);
    assert_true(method_follows_length(&method));
    assert_int_equal(method_check(&method), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "method lampe: give length="));
    method_fit(&method, 60);
    assert_false(method_follows_length(&method));
    assert_int_equal(method_check(&method), STATUS_OK);
    method_print(&method, printed);
    assert_string_equal(printed, "lampe:near=4,far=3,mapped=5,length=60,logit_scale=1");
    method_fit(&method, 90);
    assert_int_equal(method.numbers[3].tokens, 60);
    assert_int_equal(method_parse(&method, "lampe", 0), STATUS_OK);
    method_fit(&method, 1);
    assert_int_equal(method_check(&method), STATUS_OK);
    assert_int_equal(method_parse(&method, "string", TRAINED), STATUS_OK);
    assert_false(method_follows_length(&method));
}

static void refuses(const char *text, enum status status, const char *named)
{
    struct method method = {.numbers[0].tokens = 77};
    assert_int_equal(method_parse(&method, text, TRAINED), status);
    if (!strstr(status_message(), named))
        fail_msg("%s: \"%s\" does not name \"%s\"", text, status_message(), named);
    assert_int_equal(method.numbers[0].tokens, 77);
}

static void a_wrong_spelling_is_refused_by_name_with_the_nearest_right_one(void **state)
{
    (void)state;
    const enum status bad = STATUS_INVALID_ARGUMENT;
    refuses("sting", bad, "did you mean \"string\"");
    refuses("lm-infinite", bad, "did you mean \"lm_infinite\"");
    refuses("telepathy", bad, "unknown method \"telepathy\". There are rope");
    refuses("rop", bad, "did you mean \"rope\"");
    refuses("", bad, "unknown method");
    refuses("ropes:", bad, "did you mean \"rope\"");
    refuses("a-name-far-longer-than-any-method-ever-was-or-will-be", bad, "unknown method");
    refuses("rope:shift=3", bad, "method rope: unknown parameter \"shift\": it has logn");
    refuses("string:shfit=3", bad, "did you mean \"shift\"");
    refuses("string:locale=3", bad, "did you mean \"local\"");
    refuses("string:window=3", bad, "\"window\": it has shift, local, logit_scale and logn");
    refuses("lm_infinite:sink=3", bad, "did you mean \"sinks\"");
    refuses("lm_infinite:ceil=3", bad, "did you mean \"ceiling\"");
    refuses("string:", bad, "write key=value");
    refuses("string:shift", bad, "\"shift\" is not a parameter");
    refuses("string:shift=", bad, "write key=value");
    refuses("string:=3", bad, "write key=value");
    refuses("string:shift=3,", bad, "write key=value");
    refuses("string:shift,local=3", bad, "\"shift\" is not a parameter");
    refuses("string:shift=3,shift=4", bad, "shift is given twice");
    refuses("string:shift=3x", bad, "shift=3x");
    refuses("string:shift=-3", bad, "shift=-3");
    refuses("string:shift=0", bad, "shift=0");
    refuses("string:shift=0.0", bad, "shift=0.0");
    refuses("string:shift=1.0", bad, "shift=1.0");
    refuses("string:shift=0.00001", bad, "shift=0");
    refuses("string:shift=1099511627777", bad, "shift=1099511627777");
    refuses("string:shift=99999999999999999999", bad, "too large");
    refuses("string:shift=8,local=9", bad, "local=9");
    refuses("string:logit_scale=0", bad, "logit_scale=0");
    refuses("string:logit_scale=-1", bad, "logit_scale=-1");
    refuses("string:logit_scale=101", bad, "logit_scale=101");
    refuses("string:logit_scale=nan", bad, "logit_scale=nan");
    refuses("string:logit_scale=1x", bad, "logit_scale=1x");
    refuses("string:logit_scale=aVeryLongValueThatNoParameterHas", bad, "write key=value");
    refuses("lm_infinite:window=0", bad, "window=0");
    refuses("streaming_llm:window=0", bad, "window=0");
    refuses("streaming_llm:window=1099511627776,sinks=1", bad, "sinks=1 and window=1099511627776");
    refuses("rerope:window=0", bad, "window=0");
    refuses("rerope:factor=2", bad, "\"factor\": it has window and logn");
    refuses("leaky_rerope:factor=0.9", bad, "factor=0.9 must be at least 1");
    refuses("leaky_rerop", bad, "did you mean \"leaky_rerope\"");
    refuses("self_extend:group=0", bad, "group=0");
    refuses("dca:chunk=6,local=6", bad, "local=6 must be below chunk, which is 6");
    refuses("dca:chunk=0", bad, "chunk=0");
    refuses("streaming_heads:window=8", bad, "method streaming_heads: give heads=");
    refuses("streaming_heads:heads=2", bad, "method streaming_heads: give window=");
    refuses("streaming_heads:heads=0,window=8", bad, "heads=0");
    refuses("streaming_heads:heads=1,window=0", bad, "window=0");
    refuses("rope:logn=1", bad, "logn=1 must be between 2 and 1099511627776, or 0 for none");
    refuses("rope:lonn=8", bad, "did you mean \"logn\"");
    refuses("rope+", bad, "unknown frequencies \"\". There are linear, ntk, yarn and long");
    refuses("rope+yarm:factor=2", bad, "did you mean \"yarn\"");
    refuses("rope+string", bad, "unknown frequencies \"string\"");
    refuses("rope+linear", bad, "frequencies linear: give factor=");
    refuses("rope+linear:", bad, "write key=value");
    refuses("rope+linear:factor=0.5", bad, "factor=0.5 must be at least 1");
    refuses("rope+linear:factor=nan", bad, "factor=nan");
    refuses("rope+linear:original=5", bad, "\"original\": it has factor");
    refuses("rope+yarn:factor=2,original=0", bad, "original=0");
    refuses("rope+yarn:factor=2,attention=0", bad, "attention=0 must be above 0");
    refuses("rope+linear:factor=2+ntk:factor=2", bad, "factor=2+ntk:factor=2 is not a number");
    refuses("rope:+linear:factor=2", bad, "write key=value");
    refuses("+linear:factor=2", bad, "unknown method \"\"");
}

static void lampe_names_its_ranges(void **state)
{
    (void)state;
    const enum status bad = STATUS_INVALID_ARGUMENT;
    refuses("lampe:near=0", bad, "near=0 must be between 1 and 274877906944");
    refuses("lampe:near=5,far=6", bad, "far=6 must be between 0 and near, which is 5");
    refuses("lampe:mapped=0", bad, "mapped=0 must be between 1 and 4194304");
    refuses("lampe:mapped=4194305", bad, "mapped=4194305 must be between 1 and 4194304");
    refuses("lampe:length=1", bad, "length=1 must be between 2 and 1099511627776");
    refuses("lampe:logit_scale=0", bad, "logit_scale=0 must be above 0");
}

static void a_table_that_breaks_a_rule_is_refused_by_it(void **state)
{
    (void)state;
    const enum status bad = STATUS_INVALID_ARGUMENT;
    refuses("table", bad, "give keys=");
    refuses("table:", bad, "write key=value");
    refuses("table:keys=plain,", bad, "write key=value");
    refuses("table:keys=", bad, "keys, band 1: unknown rule \"\". There are plain, shift,");
    refuses("table:keys=plan", bad, "band 1: unknown rule \"plan\": did you mean \"plain\"");
    refuses("table:keys=plain,keys=plain", bad, "keys is given twice");
    refuses("table:key=plain", bad, "\"key\": it has sinks and logn");
    refuses("table:keys=plain..4/shift", bad, "keys, band 2: shift takes 1 number");
    refuses("table:keys=plain:3", bad, "keys, band 1: plain takes 0 numbers");
    refuses("table:keys=plain..4/shift:x", bad, "band 2: \"x\" is not a number");
    refuses("table:keys=plain..4/shift:0.5", bad, "by of shift is 0.5, must be whole");
    refuses("table:keys=plain..4/scale:4:0.5", bad, "factor of scale is 0.5, must be between 1");
    refuses("table:keys=plain..4/group:0:4", bad, "of of group is 0, must be whole and between 1");
    refuses("table:keys=plain..x/hidden", bad, "its end \"x\" is not a number of tokens");
    refuses("table:keys=plain..4", bad, "the last band must have no end");
    refuses("table:keys=plain/hidden", bad, "only the last band may have no end");
    refuses("table:keys=plain..4/fixed:4..4/hidden", bad,
            "band 2: it ends at 4, must end above 4, where it begins");
    refuses("table:keys=plain..0/hidden", bad, "band 1: it ends at 0");
    refuses("table:keys=hidden", bad, "every token must see itself");
    refuses("table:keys=plain..4/shift:-5", bad, "band 2: its smallest effective distance is -1");
    refuses("table:keys=plain..4/anchor:9", bad, "band 2: anchor is for sinks");
    refuses("table:keys=plain,sinks=2", bad, "give sinks=N and sink_keys=...");
    refuses("table:keys=plain,sink_keys=plain", bad, "give sinks=N and sink_keys=...");
    refuses("table:keys=plain,sinks=3,sink_keys=anchor:1", bad,
            "sink_keys, band 1: its smallest effective distance is -1");
    refuses("table:keys=plain..2/fixed:2..4/group:2:2", bad, "more than 2 ways");
    refuses("table:keys=plain..2/shift:-1..3/shift:-2..4/shift:-3..5/shift:-4", bad,
            "more than 4 ways");
    refuses("table:keys=plain..1/plain..2/plain..3/plain..4/plain..5/plain..6/plain..7/plain", bad,
            "more than 7 bands");
    refuses("table:keys=plain..100000000000/shift:-100000000000..200000000000/"
            "shift:-100000000000..300000000000/shift:-100000000000..400000000000/"
            "shift:-100000000000..500000000000/shift:-100000000000",
            bad, "more than 159 characters");
    refuses("table:file=x.yaml", bad, "unknown parameter \"file\"");
}

static void a_model_that_does_not_say_its_length_has_no_defaults(void **state)
{
    (void)state;
    struct method method;
    assert_int_equal(method_parse(&method, "string", 0), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "give shift in tokens"));
    assert_int_equal(method_parse(&method, "lm_infinite", 0), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "give window in tokens"));
    assert_int_equal(method_parse(&method, "dca", 0), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "give chunk in tokens"));
    assert_int_equal(method_parse(&method, "rope+yarn:factor=2", 0), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "give original in tokens"));
    assert_int_equal(method_parse(&method, "lm_infinite:window=5", 0), STATUS_OK);
    method.row = NULL;
    assert_int_equal(method_check(&method), STATUS_INVALID_ARGUMENT);
}

static void numbers_give_the_method_of_their_spelling(void **state)
{
    (void)state;
    struct method made, parsed;
    const struct method_value string[] = {{.name = "logit_scale", .real = 1.0693147180559945},
                                          {.name = "shift", .tokens = 300}};
    assert_int_equal(method_make(&made, "string", string, 2, TRAINED), STATUS_OK);
    assert_int_equal(
        method_parse(&parsed, "string:shift=300,logit_scale=1.0693147180559945", TRAINED),
        STATUS_OK);
    assert_memory_equal(&made, &parsed, sizeof made);
    assert_int_equal(method_make(&made, "lm_infinite", NULL, 0, TRAINED), STATUS_OK);
    assert_int_equal(method_parse(&parsed, "lm_infinite", TRAINED), STATUS_OK);
    assert_memory_equal(&made, &parsed, sizeof made);

    const struct method_value wrong[] = {{.name = "shift", .tokens = -1},
                                         {.name = "window", .tokens = 3},
                                         {.name = "logit_scale", .real = -2}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(method_make(&made, "string", &wrong[i], 1, TRAINED),
                         STATUS_INVALID_ARGUMENT);
        assert_non_null(strstr(status_message(), wrong[i].name));
        assert_memory_equal(&made, &parsed, sizeof made);
    }
    assert_int_equal(method_make(&made, "telepathy", NULL, 0, TRAINED), STATUS_INVALID_ARGUMENT);
}

static double effective(const struct bands *bands, int64_t i, int64_t j)
{
    if (j > i)
        return AHEAD;
    const struct band *band = bands_find(bands, i, j);
    if (!band)
        return MASKED;
    return bands_position(&bands->query_frame[band->query_frame], i) -
           bands_position(&bands->key_frame[band->key_frame], j);
}

static void bands_of(const char *text, struct bands *bands)
{
    struct method method;
    const char *reason;
    assert_int_equal(method_parse(&method, text, TRAINED), STATUS_OK);
    method_bands(&method, bands);
    if (!bands_check(bands, &reason))
        fail_msg("%s: %s", text, reason);
}

/* docs/methods.md, STRING: the whole of its example. */
static const int string_example[LENGTH][LENGTH] = {
    {0},
    {1, 0},
    {2, 1, 0},
    {3, 2, 1, 0},
    {1, 3, 2, 1, 0},
    {2, 1, 3, 2, 1, 0},
    {3, 2, 1, 3, 2, 1, 0},
    {4, 3, 2, 1, 3, 2, 1, 0},
    {5, 4, 3, 2, 1, 3, 2, 1, 0},
    {6, 5, 4, 3, 2, 1, 3, 2, 1, 0},
    {7, 6, 5, 4, 3, 2, 1, 3, 2, 1, 0},
    {8, 7, 6, 5, 4, 3, 2, 1, 3, 2, 1, 0},
};

/* docs/methods.md, LM-Infinite: the whole of its example. */
static const int lm_infinite_example[LENGTH][LENGTH] = {
    {0},
    {1, 0},
    {2, 1, 0},
    {3, 2, 1, 0},
    {4, 3, 2, 1, 0},
    {4, 4, 3, 2, 1, 0},
    {4, 4, MASKED, 3, 2, 1, 0},
    {4, 4, MASKED, MASKED, 3, 2, 1, 0},
    {4, 4, MASKED, MASKED, MASKED, 3, 2, 1, 0},
    {4, 4, MASKED, MASKED, MASKED, MASKED, 3, 2, 1, 0},
    {4, 4, MASKED, MASKED, MASKED, MASKED, MASKED, 3, 2, 1, 0},
    {4, 4, MASKED, MASKED, MASKED, MASKED, MASKED, MASKED, 3, 2, 1, 0},
};

static void the_worked_examples_of_the_specification_hold(void **state)
{
    (void)state;
    struct bands string;
    struct bands lm_infinite;
    bands_of("string:shift=4,local=1", &string);
    bands_of("lm_infinite:window=4,sinks=2,ceiling=4", &lm_infinite);
    for (int i = 0; i < LENGTH; i++) {
        for (int j = 0; j <= i; j++) {
            assert_true(effective(&string, i, j) == string_example[i][j]);
            assert_true(effective(&lm_infinite, i, j) == lm_infinite_example[i][j]);
        }
    }
    assert_int_equal(string.query_frames, 2);
    assert_int_equal(lm_infinite.query_frames, 2);
}

static void degenerate_parameters_are_rope(void **state)
{
    (void)state;
    static const char *const texts[] = {"string:shift=5,local=5", "string:shift=12,local=3",
                                        "lm_infinite:window=12,sinks=3,ceiling=2",
                                        "lm_infinite:window=99,sinks=0"};
    struct bands rope;
    bands_of("rope", &rope);
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        struct bands bands;
        bands_of(texts[t], &bands);
        for (int i = 0; i < LENGTH; i++)
            for (int j = 0; j < LENGTH; j++)
                assert_true(effective(&bands, i, j) == effective(&rope, i, j));
    }
    bands_of("string:shift=5,local=5", &rope);
    assert_int_equal(rope.query_frames, 1);
}

static void a_ceiling_other_than_the_window_holds_for_every_far_sink(void **state)
{
    (void)state;
    struct bands bands;
    bands_of("lm_infinite:window=3,sinks=2,ceiling=7", &bands);
    assert_true(effective(&bands, 3, 0) == 7);
    assert_true(effective(&bands, 2, 0) == 2);
    assert_true(effective(&bands, 11, 1) == 7);
    assert_true(effective(&bands, 5, 2) == MASKED);
    assert_int_equal(bands_reach(&bands), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_method_is_spelt_with_the_defaults_of_the_model),
        cmocka_unit_test(a_neighbour_is_spelt_with_its_published_defaults),
        cmocka_unit_test(any_method_takes_logn_and_frequencies),
        cmocka_unit_test(a_table_of_ones_own_is_spelt_band_by_band),
        cmocka_unit_test(lampe_names_its_ranges),
        cmocka_unit_test(a_table_that_breaks_a_rule_is_refused_by_it),
        cmocka_unit_test(a_length_is_frozen_when_a_request_is_known),
        cmocka_unit_test(a_wrong_spelling_is_refused_by_name_with_the_nearest_right_one),
        cmocka_unit_test(numbers_give_the_method_of_their_spelling),
        cmocka_unit_test(a_model_that_does_not_say_its_length_has_no_defaults),
        cmocka_unit_test(the_worked_examples_of_the_specification_hold),
        cmocka_unit_test(degenerate_parameters_are_rope),
        cmocka_unit_test(a_ceiling_other_than_the_window_holds_for_every_far_sink),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
