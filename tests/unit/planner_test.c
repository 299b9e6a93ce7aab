/* How the planner cuts what a group of several workers is asked: alike, so that prompts can share
 * their beginnings. */
#include "tests/support/unit.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/planner.h"
#include "proto/plan/memory_plan.h"

enum { LONGEST = 131072 };

/* Llama-3.1-8B. */
static const struct planner planner = {
    .defaults = {.method = "rope", .context_tokens = LONGEST},
    .shape = {.layers = 32,
              .hidden = 4096,
              .heads = 32,
              .kv_heads = 8,
              .head_dim = 128,
              .ffn = 14336,
              .vocab = 128256,
              .trained_tokens = LONGEST},
};

static struct workers_facts facts_of(int workers)
{
    struct group_choice group = group_choice_usual(workers);
    memory_group_size(&group, 4, LONGEST);
    return (struct workers_facts){
        .size = workers,
        .threads = 64,
        .kernels = "avx512_bf16",
        .cache = CHOICE_CACHE_BF16,
        .shared_memory_bus = true,
        .weights_bytes = INT64_C(16060522496),
        .longest_tokens = LONGEST,
        .stage_rows = group.stage_rows,
        .step_rows = group.step_rows,
        .places = group.sequences,
    };
}

static struct request_choice plan(const struct workers_facts *facts, int64_t prompt_tokens)
{
    const struct planner_request request = {.prompt_tokens = prompt_tokens, .max_tokens = 100};
    struct status_details details = {0};
    struct choice choice;
    if (planner_choose(&planner, &choice, &details, facts, &request) != STATUS_OK)
        fail_msg("%s", status_message());
    return choice.request;
}

static void a_plan_has_whole_workers_of_a_tensor_axis(void **state)
{
    (void)state;
    for (int workers = 0; workers <= 6; workers++) {
        struct workers_facts facts = facts_of(4);
        struct status_details details = {0};
        facts.tensor = 2;
        if (workers % 2 == 0) {
            assert_int_equal(planner_set_workers(&facts, &details, workers), STATUS_OK);
            assert_int_equal(facts.size, workers > 0 ? workers : 4);
            continue;
        }
        assert_int_equal(planner_set_workers(&facts, &details, workers), STATUS_INVALID_ARGUMENT);
        assert_string_equal(details.field, "workers");
        assert_non_null(strstr(status_message(), "a tensor axis of 2"));
    }
}

/* A document, a question on it, and another that is much longer. */
static void several_workers_cut_all_prompts_alike(void **state)
{
    (void)state;
    for (int workers = 2; workers <= 4; workers++) {
        const struct workers_facts facts = facts_of(workers);
        const struct request_choice first = plan(&facts, 6000);
        assert_true(first.stage_tokens > 0);
        for (int64_t prompt = 500; prompt < LONGEST - 100; prompt += 6007) {
            const struct request_choice other = plan(&facts, prompt);
            assert_int_equal(other.stage_tokens, first.stage_tokens);
            assert_int_equal(other.partition, first.partition);
            assert_int_equal(other.schedule, first.schedule);
            assert_int_equal(other.context_tokens, prompt + 100);
        }
    }
}

/* Weights go into the choice where every worker has room for its share, and are left out where one
 * has not. */
static void weights_are_used_where_they_fit(void **state)
{
    (void)state;
    struct workers_facts facts = facts_of(4);
    facts.pool_slots = 4096;
    assert_int_equal(plan(&facts, 50000).weights.count, 0);
    facts.weights = (struct partition_weights){4, {16, 8, 16, 16}};
    const struct request_choice weighed = plan(&facts, 50000);
    assert_int_equal(weighed.weights.count, 4);
    assert_int_equal(weighed.weights.parts[1], 8);
    facts.pool_slots = 2 * (50100 / 64 / 4 + 8); /* of an even share, and a few */
    assert_int_equal(plan(&facts, 50000).weights.count, 0);
    facts.weights.count = 0;
    assert_true(plan(&facts, 50000).stage_tokens > 0);
}

/* Seconds of a prompt, by what --weights says and what was measured of four workers. */
static double predicted(const char *said, const struct workers_facts *facts)
{
    const struct planner_request request = {.prompt_tokens = 50000, .max_tokens = 100};
    struct planner given = planner;
    struct planner_forecast forecast;
    struct status_details details = {0};
    struct choice choice;
    given.defaults.weights = said;
    if (planner_choose(&given, &choice, &details, facts, &request) != STATUS_OK ||
        planner_forecast(&given, &forecast, &choice, facts, request.prompt_tokens, NULL) !=
            STATUS_OK)
        fail_msg("%s", status_message());
    const double seconds = forecast.parts[PLANNER_PRODUCTS] + forecast.parts[PLANNER_ATTENTION];
    planner_forecast_deinit(&forecast);
    return seconds;
}

/* Arithmetic takes as long as the slowest rank needs for its share, at the speed that was measured
 * of it; given weights change the share alone. */
static void given_weights_say_nothing_of_speeds(void **state)
{
    (void)state;
    struct workers_facts alike = facts_of(4);
    alike.pool_slots = 4096;
    alike.places = 1; /* one stage, however long it takes */
    struct workers_facts unequal = alike;
    unequal.weights = (struct partition_weights){4, {16, 8, 16, 16}};
    assert_true(predicted("1,2,1,1", &unequal) == 2 * predicted("1,2,1,1", &alike));
    assert_true(predicted("2,1,2,2", &unequal) == predicted("auto", &unequal));
    assert_true(predicted("even", &unequal) > predicted("auto", &unequal));
    assert_true(predicted("auto", &unequal) > predicted("even", &alike));
}

static void weights_for_another_number_of_workers_are_the_coordinators_fault(void **state)
{
    (void)state;
    const struct planner_request request = {.prompt_tokens = 500, .max_tokens = 100};
    const struct workers_facts facts = facts_of(4);
    struct planner given = planner;
    struct status_details details = {0};
    struct choice choice;
    given.defaults.weights = "2,1";
    assert_int_equal(planner_choose(&given, &choice, &details, &facts, &request),
                     STATUS_FAILED_PRECONDITION);
    assert_non_null(strstr(status_message(), "--weights"));
    assert_null(details.field);
}

/* SmolLM2-135M on two cores with AVX512-BF16: what deploy/quickstart plans. */
static const struct planner small_planner = {
    .defaults = {.method = "rope", .context_tokens = 8192},
    .shape = {.layers = 30,
              .hidden = 576,
              .heads = 9,
              .kv_heads = 3,
              .head_dim = 64,
              .ffn = 1536,
              .vocab = 49152,
              .trained_tokens = 8192},
};

static struct workers_facts small_facts(double link_bytes)
{
    struct group_choice group = group_choice_usual(2);
    memory_group_size(&group, 32, 8192);
    return (struct workers_facts){
        .size = 2,
        .threads = 1,
        .kernels = "avx512_bf16",
        .cache = CHOICE_CACHE_BF16,
        .weights_bytes = 134515008,
        .longest_tokens = 8192,
        .stage_rows = group.stage_rows,
        .step_rows = group.step_rows,
        .pool_slots = 8192,
        .within = {.bytes_per_second = link_bytes, .latency_s = 10e-6},
        .places = group.sequences,
    };
}

struct outlook {
    int64_t stage_tokens;
    int stages;
    int64_t sent_bytes;
};

static struct outlook look_at(const struct workers_facts *facts)
{
    const struct planner_request request = {.prompt_tokens = 6000, .max_tokens = 100};
    struct planner_forecast forecast;
    struct status_details details = {0};
    struct choice choice;
    if (planner_choose(&small_planner, &choice, &details, facts, &request) != STATUS_OK ||
        planner_forecast(&small_planner, &forecast, &choice, facts, 6000, NULL) != STATUS_OK)
        fail_msg("%s", status_message());
    const struct outlook outlook = {choice.request.stage_tokens, forecast.stages,
                                    forecast.ranks[0].sent_bytes + forecast.ranks[1].sent_bytes};
    planner_forecast_deinit(&forecast);
    return outlook;
}

/* Every stage sends the keys of all before it again, so a slower link gets longer stages, up to
 * those that a client may still be kept waiting for. */
static void stages_get_longer_where_the_link_is_slow(void **state)
{
    (void)state;
    struct workers_facts facts = small_facts(4e9);
    const struct outlook fast = look_at(&facts);
    struct outlook before = fast;
    assert_int_equal(fast.stage_tokens, 512);
    for (facts.within.bytes_per_second = 2e9; facts.within.bytes_per_second >= 1e7;
         facts.within.bytes_per_second /= 2) {
        const struct outlook slower = look_at(&facts);
        assert_true(slower.stage_tokens >= before.stage_tokens);
        assert_true(slower.sent_bytes <= before.sent_bytes);
        before = slower;
    }
    assert_int_equal(before.stage_tokens, 1024);
    assert_int_equal(before.stages, 6);
    assert_true(5 * before.sent_bytes < 3 * fast.sent_bytes);
}

/* What prompts took counts: twice the arithmetic hides twice the exchange, and stages of as many
 * seconds are half as long. */
static void a_slow_link_is_held_against_slow_arithmetic(void **state)
{
    (void)state;
    struct workers_facts facts = small_facts(2.5e8);
    const struct outlook quick = look_at(&facts);
    facts.pace = 4;
    const struct outlook slow = look_at(&facts);
    assert_true(slow.stage_tokens < quick.stage_tokens);
    facts.within.bytes_per_second = 1e7;
    assert_int_equal(look_at(&facts).stage_tokens, 512);
}

/* Alone it keeps nobody waiting. */
static void one_request_at_a_time_is_one_stage_on_any_link(void **state)
{
    (void)state;
    for (double link_bytes = 1e7; link_bytes < 1e10; link_bytes *= 10) {
        struct workers_facts facts = small_facts(link_bytes);
        facts.places = 1;
        assert_int_equal(look_at(&facts).stages, 1);
    }
}

static int64_t length_of(const char *spelling, int64_t prompt_tokens, int64_t max_tokens,
                         bool in_session)
{
    const struct workers_facts facts = small_facts(0);
    struct planner asked = small_planner;
    struct status_details details = {0};
    struct choice choice;
    const char *told;
    char text[METHOD_TEXT_BYTES];
    asked.defaults.method = spelling;
    const struct planner_request request = {
        .prompt_tokens = prompt_tokens, .max_tokens = max_tokens, .in_session = in_session};
    if (planner_choose(&asked, &choice, &details, &facts, &request) != STATUS_OK)
        fail_msg("%s", status_message());
    method_print(&choice.request.method, text);
    told = strstr(text, ",length=");
    return told ? strtoll(told + strlen(",length="), NULL, 10) : 0;
}

static void a_method_that_follows_a_length_gets_that_of_its_request(void **state)
{
    (void)state;
    bool shares = true;
    struct planner asked = small_planner;
    struct status_details details = {0};
    assert_int_equal(length_of("lampe", 6000, 100, false), 6100);
    assert_int_equal(length_of("lampe:length=7000", 6000, 100, false), 7000);
    assert_int_equal(length_of("lampe", 6000, 100, true), 8192);
    asked.defaults.method = "lampe";
    assert_int_equal(planner_shares_keys(&asked, &shares, &details, NULL), STATUS_OK);
    assert_false(shares);
    asked.defaults.method = "lampe:length=7000";
    assert_int_equal(planner_shares_keys(&asked, &shares, &details, NULL), STATUS_OK);
    assert_true(shares);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_has_whole_workers_of_a_tensor_axis),
        cmocka_unit_test(several_workers_cut_all_prompts_alike),
        cmocka_unit_test(stages_get_longer_where_the_link_is_slow),
        cmocka_unit_test(a_slow_link_is_held_against_slow_arithmetic),
        cmocka_unit_test(one_request_at_a_time_is_one_stage_on_any_link),
        cmocka_unit_test(weights_are_used_where_they_fit),
        cmocka_unit_test(a_method_that_follows_a_length_gets_that_of_its_request),
        cmocka_unit_test(given_weights_say_nothing_of_speeds),
        cmocka_unit_test(weights_for_another_number_of_workers_are_the_coordinators_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
